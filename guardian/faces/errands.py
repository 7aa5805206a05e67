"""Errands: what the worker lets guardianctl do for the bus. As asked for, all hostile; and as a command line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from guardian.faces.jobs import MOST_WAIT, Call
from guardian.model.errors import BadInput
from guardian.model.wording import listed, quoted

CALLS = frozenset({Call.EXPORT, Call.IMPORT, Call.MIGRATE})
WITH_FILE = frozenset({Call.EXPORT, Call.IMPORT})
"""Calls that come with a descriptor."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,254}")
_HOST = re.compile(r"(?!.*@-)[A-Za-z0-9_.\[:][A-Za-z0-9_.:@%/\[\]+-]{0,254}")
"""What ssh takes for a host, `user@` and `ssh://` included, without what a shell in its configuration would read."""

Value = bool | float | str


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of a command. `type` is the bus's: b, s or d; `fits`: the texts that are taken, in words `meaning`."""

    type: str
    fits: str = ""
    meaning: str = ""

    def problem(self, value: object) -> str:
        """What is wrong with a value; empty where nothing is."""
        match self.type:
            case "b":
                return "" if isinstance(value, bool) else "it must be true or false"
            case "d":
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                # What is not a number fails here as well.
                fits = is_number and 0 < float(value) <= MOST_WAIT  # type: ignore[arg-type]
                return "" if fits else f"it must be above 0 and at most {MOST_WAIT:g}"
        return (
            "" if isinstance(value, str) and re.fullmatch(self.fits, value) else f"it must be {self.meaning}"
        )


_FLAG = Option("b")
_NEW_NAME = Option("s", r"[A-Za-z0-9][A-Za-z0-9_.-]{1,127}", "a container's name")


def _one_of(*words: str) -> Option:
    return Option("s", "|".join(words), listed(words))


OPTIONS: Mapping[Call, Mapping[str, Option]] = {
    Call.EXPORT: {
        "with-image": _FLAG,
        "volumes": Option("s", r"[A-Za-z0-9][A-Za-z0-9_.,-]{0,4000}", "none, all or names with commas"),
        "compress": _one_of("zstd", "none"),
        "encrypt-to": Option(
            "s",
            r"age1[0-9a-z]{1,500}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]{1,4000}( [ -~]{0,200})?",
            "a public key of age's or ssh's",
        ),
    },
    Call.IMPORT: {
        "name": _NEW_NAME,
        "resume": _FLAG,
        "volumes": _one_of("new", "use"),
        "force": _FLAG,
    },
    Call.MIGRATE: {
        "check": _FLAG,
        "name": _NEW_NAME,
        "overwrite-volumes": _FLAG,
        "limit": Option("d"),
        "compose": Option("s", r"[a-z0-9][a-z0-9_-]{0,254}", "the name of a Compose project"),
    },
}


@dataclasses.dataclass(frozen=True)
class Errand:
    """One errand, every part of which fits. `host` is empty but for a migration."""

    call: Call
    names: tuple[str, ...]
    host: str
    options: Mapping[str, Value]

    def to_json(self) -> dict[str, Any]:
        """What `of` takes back, with the call and the names."""
        return {"host": self.host, "options": dict(self.options)}

    def command(self, descriptor: int | None = None) -> list[str]:
        """The command line; an export writes into the descriptor, an import reads standard input."""
        argv = ["guardianctl", self.call.value, "--json"]
        for key, value in self.options.items():
            if isinstance(value, bool):
                argv += [f"--{key}"] if value else []
            else:
                argv.append(f"--{key}={value}")
        match self.call:
            case Call.EXPORT:
                return [*argv, f"--descriptor={descriptor}", "--", *self.names]
            case Call.IMPORT:
                return [*argv, "--", "-"]
        return [*argv, "--batch", "--", *self.names, self.host]


def of(call: Call, names: Sequence[str], data: Any) -> Errand:
    """The errand that is asked for; `data` has its `host` and `options`. Raises BadInput."""
    try:
        host, options = data["host"], dict(data["options"])
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput(
            "the request does not parse", f"an errand needs host and options: {error!r}"
        ) from error
    for name in names:
        if not _NAME.fullmatch(name):
            raise BadInput(f"{quoted(name)} is no name of a container or checkpoint")
    _refuse_options(call, options)
    if call is Call.EXPORT and len(names) != 1:
        raise BadInput("one container or one checkpoint must be named")
    if call is Call.IMPORT and names:
        raise BadInput("an import names no container", hint="the option name gives it another name")
    if call is Call.MIGRATE:
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise BadInput(f"{quoted(host)} is no host", hint="a name of ssh's, such as root@host2")
        if not names and "compose" not in options:
            raise BadInput("no container is named")
    elif host:
        raise BadInput("only a migration has a host")
    return Errand(call, tuple(names), host, options)


def _refuse_options(call: Call, given: Mapping[str, object]) -> None:
    """Raise BadInput for an option that there is none of, or whose value does not fit."""
    allowed = OPTIONS[call]
    for key, value in given.items():
        if key not in allowed:
            there_are = listed(f"{name} ({option.type})" for name, option in allowed.items())
            raise BadInput(f"{call.value} has no option {quoted(key)}", f"it takes {there_are}")
        if problem := allowed[key].problem(value):
            raise BadInput(f"the option {key} is {quoted(value)}", problem)
