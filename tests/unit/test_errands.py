"""Errands of the bus: what is taken, and the command line that it becomes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.faces import errands, jobs, worker_client
from guardian.faces.jobs import Call
from guardian.model.errors import BadInput

KEY = "age1" + "q" * 58
EVERYTHING: list[tuple[Call, tuple[str, ...], str, dict[str, Any]]] = [
    (
        Call.EXPORT,
        ("web@2",),
        "",
        {"with-image": True, "volumes": "a,b", "compress": "none", "encrypt-to": KEY},
    ),
    (Call.IMPORT, (), "", {"name": "copy", "resume": True, "volumes": "use", "force": True}),
    (
        Call.MIGRATE,
        ("web", "db"),
        "two",
        {"check": True, "name": "copy", "overwrite-volumes": True, "limit": 9.5, "compose": "s"},
    ),
]


def of(call: Call, names: tuple[str, ...], host: str, options: dict[str, Any]) -> errands.Errand:
    return errands.of(call, names, {"host": host, "options": options})


@pytest.mark.parametrize(
    ("errand", "argv"),
    list(
        zip(
            EVERYTHING,
            [
                f"export --json --with-image --volumes=a,b --compress=none --encrypt-to={KEY} --descriptor=7 -- web@2",
                "import --json --name=copy --resume --volumes=use --force -- -",
                "migrate --json --check --name=copy --overwrite-volumes --limit=9.5 --compose=s --batch -- web db two",
            ],
            strict=True,
        )
    ),
)
def test_the_command_line(errand: tuple[Call, tuple[str, ...], str, dict[str, Any]], argv: str) -> None:
    call, names, host, options = errand
    assert options.keys() == errands.OPTIONS[call].keys()
    assert of(*errand).command(7) == ["guardianctl", *argv.split()]
    off = {key: value for key, value in options.items() if value is not True}
    off |= dict.fromkeys(options.keys() - off.keys(), False)
    kept = [word for word in argv.split() if word[2:] not in options]
    assert of(call, names, host, off).command(7) == ["guardianctl", *kept]


@pytest.mark.parametrize(("call", "names", "host", "options"), EVERYTHING)
def test_an_errand_goes_to_the_worker_and_is_the_same_there(
    call: Call, names: tuple[str, ...], host: str, options: dict[str, Any]
) -> None:
    errand = of(call, names, host, options)
    request = jobs.parse(worker_client.request(call, errand.names, errand=errand.to_json()).decode())
    assert errands.of(request.call, request.containers, request.errand) == errand


@pytest.mark.parametrize(
    ("call", "names", "host", "options", "said"),
    [
        (Call.EXPORT, ("--output=/etc/passwd",), "", {}, "is no name"),
        (Call.EXPORT, ("-",), "", {}, "is no name"),
        (Call.EXPORT, ("../web",), "", {}, "is no name"),
        (Call.EXPORT, ("web\nweb",), "", {}, "is no name"),
        (Call.EXPORT, ("",), "", {}, "is no name"),
        (Call.EXPORT, ("web", "db"), "", {}, "one container"),
        (Call.EXPORT, (), "", {}, "one container"),
        (Call.EXPORT, ("web",), "two", {}, "only a migration"),
        (Call.EXPORT, ("web",), "", {"output": "/etc/passwd"}, "it takes with-image (b), volumes (s)"),
        (Call.EXPORT, ("web",), "", {"with-image": 1}, "true or false"),
        (Call.EXPORT, ("web",), "", {"compress": "gzip"}, "it must be zstd or none"),
        (Call.EXPORT, ("web",), "", {"encrypt-to": "/etc/shadow"}, "a public key"),
        (Call.EXPORT, ("web",), "", {"encrypt-to": ""}, "a public key"),
        (Call.EXPORT, ("web",), "", {"encrypt-to": f"{KEY}\n"}, "a public key"),
        (Call.EXPORT, ("web",), "", {"volumes": "../a"}, "names with commas"),
        (Call.IMPORT, ("web",), "", {}, "names no container"),
        (Call.IMPORT, (), "", {"identity": "/root/key"}, "no option 'identity'"),
        (Call.IMPORT, (), "", {"name": "-copy"}, "a container's name"),
        (Call.IMPORT, (), "", {"volumes": "all"}, "new or use"),
        (Call.MIGRATE, ("web",), "-oProxyCommand=x", {}, "is no host"),
        (Call.MIGRATE, ("web",), "root@-oProxyCommand", {}, "is no host"),
        (Call.MIGRATE, ("web",), "two;reboot", {}, "is no host"),
        (Call.MIGRATE, ("web",), "two three", {}, "is no host"),
        (Call.MIGRATE, ("web",), "", {}, "is no host"),
        (Call.MIGRATE, (), "two", {}, "no container"),
        (Call.MIGRATE, ("web",), "two", {"limit": math.nan}, "above 0"),
        (Call.MIGRATE, ("web",), "two", {"limit": math.inf}, "above 0"),
        (Call.MIGRATE, ("web",), "two", {"limit": -1.0}, "above 0"),
        (Call.MIGRATE, ("web",), "two", {"limit": True}, "above 0"),
        (Call.MIGRATE, ("web",), "two", {"compose": "--sudo"}, "Compose project"),
        (Call.MIGRATE, ("web",), "two", {"sudo": True}, "no option 'sudo'"),
    ],
)
def test_what_is_hostile_is_refused(
    call: Call, names: tuple[str, ...], host: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput) as caught:
        of(call, names, host, options)
    assert said in str(caught.value)


@pytest.mark.parametrize("data", [None, 7, [], {}, {"host": ""}, {"host": "", "options": 3}, {"options": {}}])
def test_what_is_no_errand(data: Any) -> None:
    with pytest.raises(BadInput, match="does not parse"):
        errands.of(Call.EXPORT, ("web",), data)


@given(st.text(), st.text(), st.text())
def test_a_text_is_refused_or_stays_what_it_is(name: str, host: str, project: str) -> None:
    try:
        argv = of(Call.MIGRATE, (name,), host, {"compose": project}).command()
    except BadInput:
        return
    assert argv[argv.index("--") :] == ["--", name, host]
    assert argv[1 : argv.index("--")] == ["migrate", "--json", f"--compose={project}", "--batch"]


@pytest.mark.parametrize(
    "host", ["two", "root@two", "ssh://root@two:2222", "10.0.0.2", "fe80::1%eth0", "[::1]"]
)
def test_hosts_as_ssh_takes_them(host: str) -> None:
    assert of(Call.MIGRATE, ("web",), host, {}).command()[-2:] == ["web", host]


def test_a_request_without_an_errand_is_as_ever() -> None:
    assert "errand" not in json.loads(worker_client.request(Call.RESTORE))
