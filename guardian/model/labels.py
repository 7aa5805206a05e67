"""What a container's labels ask for. Anybody writes labels: nothing in them raises, all is looked at."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator, Mapping
from typing import TypeVar

from guardian.model import json_text, steps
from guardian.model.wording import listed, quoted, suggestion

PREFIX = "guardian."
ENABLE = "guardian.enable"
DEPENDS_ON = "guardian.depends-on"
GROUP = "guardian.group"
CONNECTIONS = "guardian.connections"
HOOK = "guardian.hook"
PRE_CHECKPOINT = "guardian.pre-checkpoint"
POST_RESTORE = "guardian.post-restore"
MODE = "guardian.mode"
PRIORITY = "guardian.priority"
STALE = "guardian.stale"
PRE_DUMP = "guardian.pre-dump"
MOST_PRIORITY = 1000
PLACEHOLDER = "guardian.placeholder"
"""Guardian's own: a container that only takes an address during a restore."""
COMPOSE_DEPENDS_ON = "com.docker.compose.depends_on"
COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_ONEOFF = "com.docker.compose.oneoff"

MOST_DEPENDENCIES = 256
"""How many entries of one dependency label are read."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


class Condition(enum.Enum):
    """What has to be true of a dependency before its dependent is restored."""

    STARTED = "started"
    HEALTHY = "healthy"
    COMPLETED = "completed"


class GroupPolicy(enum.Enum):
    """What happens to the other members of a group when one cannot be saved."""

    BEST_EFFORT = "best-effort"
    ALL_OR_NOTHING = "all-or-nothing"


class Connections(enum.Enum):
    """What happens to the container's TCP connections."""

    KEEP = "keep"
    CLOSE = "close"


class Mode(enum.Enum):
    """What guardian does for the container when dockerd or the host goes down."""

    CHECKPOINT = "checkpoint"
    STOP = "stop"
    SKIP = "skip"


class Stale(enum.Enum):
    """Whose change makes a checkpoint too old to be restored."""

    FILES = "files"
    VOLUME = "volume"
    NEVER = "never"


@dataclasses.dataclass(frozen=True)
class Label:
    """One label that guardian reads: `values` is what may stand in it, `default` what its absence means."""

    name: str
    values: str
    default: str
    meaning: str


LABELS: tuple[Label, ...] = (
    Label(
        ENABLE,
        "`true` or `false`",
        "`false`",
        "Whether the container is guarded. Any other value counts as `false`, and is reported.",
    ),
    Label(
        DEPENDS_ON,
        "`NAME[:started|:healthy],...`",
        "none",
        "What has to be resumed (`started`, the default) or healthy before this container is restored. "
        "A name is a container's; where there is none of that name, a service of the same Compose project.",
    ),
    Label(
        GROUP,
        "`best-effort` or `all-or-nothing`",
        "`best-effort`",
        "What happens to the rest of the container's group when one member cannot be saved: nothing, or all go "
        "on unsaved. One member that says `all-or-nothing` says so for its whole group.",
    ),
    Label(
        CONNECTIONS,
        "`keep` or `close`",
        "`keep`",
        "What happens to the container's TCP connections: they go on where they can, or all are closed.",
    ),
    Label(
        MODE,
        "`checkpoint`, `stop` or `skip`",
        "`checkpoint`",
        "What happens when dockerd or the host goes down: it is saved; or stopped gracefully after those that are "
        "saved, and started cold (a database that trusts its files more than its memory); or left to dockerd. "
        "A checkpoint that a person asks for by the container's name is taken all the same.",
    ),
    Label(
        PRIORITY,
        f"a whole number from 0 to {MOST_PRIORITY}",
        "`0`",
        "Who is saved first when time is short: the highest number, then those without a volume or bind to write to, "
        "then the smallest. Who does not come to it within "
        "`[checkpoint] budget` is stopped gracefully.",
    ),
    Label(
        PRE_DUMP,
        f"a whole number from 0 to {steps.MOST}",
        "`0`",
        "How often its memory is written while it still runs, so that it stands still only for what has changed since. "
        "Worth it for much memory of which little changes; the images take more room. Left out, and said, where the "
        "kernel has no soft-dirty tracking (Debian's has), time or room is short, or it fails; not used for a move.",
    ),
    Label(
        STALE,
        "`files`, `volume` or `never`",
        "`files`",
        "What must not have changed while the container was down, or it starts cold: the files that its processes have "
        "open or mapped (size, time, inode; code by its build id); or any file of its volumes and binds; or nothing, "
        "though CRIU refuses open files of another size by itself.",
    ),
    Label(
        HOOK,
        "the name of a file in `/etc/guardian/hooks/`",
        "none",
        "The administrator's executable that is asked and told around a checkpoint, a restore and a move "
        "([hooks.md](hooks.md)).",
    ),
    Label(
        PRE_CHECKPOINT,
        "a shell's command line, or a JSON array of words",
        "none",
        "Run inside the container before it stands still. A failure keeps it from being checkpointed, where "
        "`[hooks] on-failure` does not say otherwise ([hooks.md](hooks.md)).",
    ),
    Label(
        POST_RESTORE,
        "a shell's command line, or a JSON array of words",
        "none",
        "Run inside the container once it runs again: after a restore, and after a checkpoint that it went on from.",
    ),
    Label(
        COMPOSE_DEPENDS_ON,
        "written by Compose",
        "none",
        "Read like `guardian.depends-on`, in addition to it; names services of the same project only. "
        "`service_completed_successfully` counts as satisfied.",
    ),
    Label(COMPOSE_PROJECT, "written by Compose", "none", "The project in which service names are looked up."),
    Label(COMPOSE_SERVICE, "written by Compose", "none", "The service of which this is a container."),
    Label(
        COMPOSE_ONEOFF,
        "written by Compose",
        "`False`",
        "`True` (a container of `docker compose run`): nothing depends on it as a service.",
    ),
)

_Choice = TypeVar("_Choice", bound=enum.Enum)
_OWN = tuple(label.name for label in LABELS if label.name.startswith(PREFIX))
_CONDITIONS: Mapping[str, Mapping[str, Condition]] = {
    DEPENDS_ON: {"started": Condition.STARTED, "healthy": Condition.HEALTHY},
    COMPOSE_DEPENDS_ON: {
        "service_started": Condition.STARTED,
        "service_healthy": Condition.HEALTHY,
        "service_completed_successfully": Condition.COMPLETED,
    },
}


@dataclasses.dataclass(frozen=True)
class Dependency:
    """One name that a container waits for, not yet looked up. `label` is where it was written."""

    target: str
    condition: Condition
    label: str = DEPENDS_ON


@dataclasses.dataclass(frozen=True)
class Policy:
    """What a container's labels ask for. `problems` are sentences about labels that do not parse."""

    enabled: bool = False
    depends_on: tuple[Dependency, ...] = ()
    group: GroupPolicy = GroupPolicy.BEST_EFFORT
    connections: Connections = Connections.KEEP
    hook: str = ""
    mode: Mode = Mode.CHECKPOINT
    priority: int = 0
    pre_dump: int = 0
    stale: Stale = Stale.FILES
    pre_checkpoint: tuple[str, ...] = ()
    post_restore: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def parse(labels: Mapping[str, str], image_labels: Mapping[str, str], *, trust_image_labels: bool) -> Policy:
    """The policy in `labels`. Never raises: what does not parse is left out and said in `problems`."""
    problems: list[str] = []
    own = dict(_own(labels, {} if trust_image_labels else image_labels, problems))
    enabled = _enabled(own.get(ENABLE, "false"), problems)
    group = _one_of(GROUP, own, GroupPolicy.BEST_EFFORT, problems)
    connections = _one_of(CONNECTIONS, own, Connections.KEEP, problems)
    depends_on = (
        *_dependencies(DEPENDS_ON, own.get(DEPENDS_ON, ""), problems),
        *_dependencies(COMPOSE_DEPENDS_ON, labels.get(COMPOSE_DEPENDS_ON, ""), problems),
    )
    hook = _hook(own.get(HOOK, ""), problems)
    mode = _one_of(MODE, own, Mode.CHECKPOINT, problems)
    priority = _number(PRIORITY, own, MOST_PRIORITY, problems)
    pre_dump = _number(PRE_DUMP, own, steps.MOST, problems)
    stale = _one_of(STALE, own, Stale.FILES, problems)
    pre_checkpoint = _command(PRE_CHECKPOINT, own, problems)
    post_restore = _command(POST_RESTORE, own, problems)
    return Policy(
        enabled,
        depends_on,
        group,
        connections,
        hook,
        mode,
        priority,
        pre_dump,
        stale,
        pre_checkpoint,
        post_restore,
        tuple(dict.fromkeys(problems)),
    )


def _own(
    labels: Mapping[str, str], distrusted: Mapping[str, str], problems: list[str]
) -> Iterator[tuple[str, str]]:
    """The `guardian.*` labels that count."""
    for name, value in sorted(labels.items()):
        if not name.startswith(PREFIX):
            continue
        if name in distrusted and distrusted[name] == value:
            problems.append(
                f"label {quoted(name)}: {quoted(value)} is the image's own and ignored; "
                "allowed are the container's own labels, or trust-image-labels = true"
            )
        elif name not in _OWN:
            hint = suggestion(name, _OWN) or f"allowed are {listed(_OWN)}"
            problems.append(f"label {quoted(name)} with value {quoted(value)} is unknown and ignored; {hint}")
        else:
            yield name, value


def _enabled(value: str, problems: list[str]) -> bool:
    word = value.strip().lower()
    if word not in ("true", "false"):
        problems.append(
            f"label {ENABLE}: {quoted(value)} is not allowed, the container is not guarded; "
            "allowed are true or false"
        )
    return word == "true"


def _number(label: str, own: Mapping[str, str], most: int, problems: list[str]) -> int:
    """A whole number from 0 to `most`, 0 where there is none."""
    value = own.get(label, "0")
    text = value.strip()
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most:
        return int(text)
    problems.append(f"label {label}: {quoted(value)} is not allowed, 0 is used; allowed are 0 to {most}")
    return 0


def _hook(value: str, problems: list[str]) -> str:
    """The name of a file, never a path: a label says nothing about the host but which of its hooks is meant."""
    name = value.strip()
    if not name or (_NAME.fullmatch(name) and not name.startswith(".")):
        return name
    problems.append(
        f"label {HOOK}: {quoted(value)} names no hook and is ignored; "
        "allowed are letters, digits, '_', '.' and '-', no dot first"
    )
    return ""


def _command(label: str, own: Mapping[str, str], problems: list[str]) -> tuple[str, ...]:
    """The words of a command: a JSON array as it is, anything else for the container's shell, as in a Dockerfile."""
    value = own.get(label, "").strip()
    if not value.startswith("["):
        return ("/bin/sh", "-c", value) if value else ()
    try:
        words = json_text.loads(value)
    except ValueError:
        words = None
    if (
        isinstance(words, list)
        and words
        and all(isinstance(word, str) and "\0" not in word for word in words)
    ):
        return tuple(words)
    problems.append(
        f"label {label}: {quoted(value)} is no command and is ignored; "
        "allowed are a command line or a JSON array of words"
    )
    return ()


def _one_of(label: str, own: Mapping[str, str], default: _Choice, problems: list[str]) -> _Choice:
    """The choice that a label makes, `default` where it makes none."""
    value = own.get(label, default.value)
    try:
        return type(default)(value.strip())
    except ValueError:
        allowed = listed(choice.value for choice in type(default))
        problems.append(
            f"label {label}: {quoted(value)} is not allowed, {default.value} is used; allowed are {allowed}"
        )
        return default


def _dependencies(label: str, value: str, problems: list[str]) -> Iterator[Dependency]:
    """The dependencies in one label: `name[:condition],...`; Compose adds `[:restart]`, which is not ours."""
    conditions = _CONDITIONS[label]
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    if len(entries) > MOST_DEPENDENCIES:
        problems.append(
            f"label {label}: {quoted(value)} has {len(entries)} entries; allowed are {MOST_DEPENDENCIES}, "
            "the rest is ignored"
        )
    for entry in entries[:MOST_DEPENDENCIES]:
        name, _, word = (part.strip() for part in entry.partition(":"))
        if label == COMPOSE_DEPENDS_ON:
            word = word.partition(":")[0].strip()
        if _NAME.fullmatch(name) is None:
            problems.append(
                f"label {label}: {quoted(entry)} names no container and is ignored; "
                "allowed are letters, digits, '_', '.' and '-'"
            )
            continue
        if word and word not in conditions:
            problems.append(
                f"label {label}: {quoted(entry)} has an unknown condition, read as started; "
                f"allowed are {listed(conditions)}"
            )
        yield Dependency(name, conditions.get(word, Condition.STARTED), label)
