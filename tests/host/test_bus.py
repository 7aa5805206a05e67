"""guardian on the system bus, as its clients find it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guardian import __version__
from guardian.faces.bus_interface import JOB, NAME, PROPERTIES, ROOT, Interface, parse, promised
from tests.host.site import Site

TOP = Path(__file__).resolve().parents[2]
CALL = f"busctl call {NAME} {ROOT} {NAME}"
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
ERROR = f"{NAME}.Error"
STANDARD = "org.freedesktop.DBus.Error"
DROP_IN = "/run/systemd/system/guardiand.service.d/test.conf"
MOST_MEMORY = 28 * 1024


@pytest.fixture
def site(site: Site) -> Iterator[Site]:
    """With the client on it and no jobs yet; the worker runs before and after."""
    site.machine.copy_to(Path(__file__).with_name("bus_client.py"), "/root/bus_client.py")
    site.machine.succeed("chmod 755 /root; systemctl stop guardiand.service")
    yield site
    site.machine.succeed(
        f"rm -f {DROP_IN}; systemctl daemon-reload; systemctl start guardian-worker.service;"
        "systemctl kill --signal=CONT guardian-worker.service"
    )


def client(site: Site, member: str, signature: str = "", *body: Any, **more: Any) -> dict[str, Any]:
    """What one call came to, as bus_client.py tells it."""
    wanted = json.dumps({"member": member, "signature": signature, "body": body, **more})
    found: dict[str, Any] = json.loads(
        site.machine.succeed(f"python3 /root/bus_client.py {shlex.quote(wanted)}")
    )
    return found


INSPECT = f"""\
import asyncio, os, sys
from dbus_next.aio import MessageBus
from dbus_next import BusType, Message

async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    arguments = dict(signature="sa{{sv}}", body=[sys.argv[1], {{}}])
    reply = await bus.call(Message("{NAME}", "{ROOT}", "{NAME}", "Inspect", **arguments))
    print(os.fdopen(reply.unix_fds[0]).read())

asyncio.run(main())
"""


def settle(site: Site, line: str) -> None:
    """A call of busctl's that makes a job; waits for its end."""
    path = site.machine.succeed(line).split('"')[1]
    site.machine.wait_until_succeeds(f"busctl get-property {NAME} {path} {JOB} State | grep finished")
    result = site.machine.succeed(f"busctl get-property {NAME} {path} {JOB} Result Error")
    assert result == 's "done"\n(ss) "" ""\n'


def written(interface: Interface) -> list[str]:
    """All of its XML, documentation included, but for the space between."""
    return ET.tostring(interface.element, encoding="unicode").split()


def documented() -> list[list[str]]:
    """The command lines of docs/dbus.md, block by block."""
    blocks = re.findall(
        r"^```console\n(.*?)^```", (TOP / "docs/dbus.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return [[line[2:] for line in block.splitlines() if line.startswith("# ")] for block in blocks]


def test_the_lines_of_the_documentation(site: Site) -> None:
    look, save, snapshot, release, looked_into, _migrate = documented()
    before = site.redis("redis")

    assert '"redis"' in site.machine.succeed("set -e\n" + "\n".join(look))

    said = site.machine.succeed("set -e\n" + "\n".join(save))
    assert 's "finished"\ns "done"\ns "redis: saved in ' in said
    site.wait_for(lambda: site.outcome("redis") == "resumed")
    assert site.seen_in("redis") == before

    taken, inspection = looked_into
    for line in (*snapshot, taken):
        settle(site, line)
    assert site.seen_in("redis") == before
    assert site.machine.succeed(inspection).startswith("h ")

    settle(site, f"{CALL} Checkpoint 'asa{{sv}}' 1 redis 0")
    for line in release:
        settle(site, line)
    assert site.inspect("redis", "{{.State.Running}}") == "false"
    assert site.outcome("redis") == "stopped"


def test_it_exports_what_the_xml_promises(site: Site) -> None:
    job = client(site, "Checkpoint", "asa{sv}", [], {})
    assert job["job"]["Result"] == "done"
    assert job["job"]["Results"] == []
    for path, name in ((ROOT, NAME), (job["reply"], JOB)):
        exported = parse(site.machine.succeed(f"busctl introspect --xml-interface {NAME} {path}"))
        assert exported[name] == promised()[name]
        assert written(exported[name]) == written(promised()[name])
        values = json.loads(
            site.machine.succeed(f"busctl call -j {NAME} {path} {PROPERTIES} GetAll s {name}")
        )
        types = {key: value["type"] for key, value in values["data"][0].items()}
        assert types == {key: value.type for key, value in promised()[name].properties.items()}


YES, WORD = {"variant": ["b", True]}, {"variant": ["s", "yes"]}
REFUSED: list[tuple[str, str, list[Any], str, str]] = [
    ("Checkpoint", "asa{sv}", [["nope"], {}], f"{ERROR}.UnknownContainer", "nope"),
    ("Checkpoint", "asa{sv}", [["plain"], {}], f"{ERROR}.NotGuarded", "plain"),
    ("Checkpoint", "asa{sv}", [[""], {}], f"{ERROR}.BadInput", "names"),
    ("Checkpoint", "asa{sv}", [["redis"], {"stay": YES}], f"{ERROR}.BadInput", "it takes leave-running (b)"),
    ("Restore", "asa{sv}", [["redis"], {}], f"{ERROR}.AlreadyRunning", "redis"),
    ("Release", "asa{sv}", [["redis"], {}], f"{ERROR}.NoCheckpoint", "redis"),
    ("Release", "asa{sv}", [[], {}], f"{ERROR}.BadInput", "by name"),
    ("Release", "asa{sv}", [["redis"], {"discard": WORD}], f"{ERROR}.BadInput", "must be 'b'"),
    ("List", "a{sv}", [{"all": YES}], f"{ERROR}.BadInput", "it takes none"),
    ("List", "", [], f"{STANDARD}.InvalidArgs", "'a{sv}', not ''"),
    ("Checkpoint", "s", ["redis"], f"{STANDARD}.InvalidArgs", "'asa{sv}', not 's'"),
    ("Dance", "", [], f"{STANDARD}.UnknownMethod", "Dance"),
]


def test_what_is_refused(site: Site) -> None:
    before = site.redis("redis")
    site.run("plain", "sleep 1000", guarded=False)
    for member, signature, body, name, text in REFUSED:
        error = client(site, member, signature, *body)["error"]
        assert error is not None, (member, body)
        assert error[0] == name
        assert text in error[1]
    unknown = site.machine.run(f"busctl get-property {NAME} {ROOT}/job/1 {JOB} State")
    assert unknown.status != 0
    assert "60 seconds" in unknown.stderr
    assert (
        "can only be read" in site.machine.run(f"busctl set-property {NAME} {ROOT} {NAME} Version s 9").stderr
    )
    assert site.seen_in("redis") == before
    assert f"{ROOT}/job" not in site.machine.succeed(f"busctl tree --list {NAME}"), (
        "a refused call made a job"
    )


def test_only_root(site: Site) -> None:
    site.machine.succeed(f"{CALL} List 'a{{sv}}' 0")
    for line in (f"{CALL} List 'a{{sv}}' 0", f"busctl introspect {NAME} {ROOT}"):
        said = site.machine.run(f"{NOBODY} {line}")
        assert said.status != 0
        assert "Access denied" in said.stderr

    pipe = "/run/enough"
    listen = "python3 /root/bus_client.py " + shlex.quote(json.dumps({"until": pipe}))
    site.machine.succeed(f"mkfifo -m 644 {pipe}")
    heard = {}
    for who in (NOBODY, "env"):
        with site.machine.running(f"{who} {listen}", stdout=subprocess.PIPE) as listening:
            assert listening.stdout is not None
            assert listening.stdout.readline() == b"listening\n"
            settle(site, f"{CALL} Checkpoint 'asa{{sv}}' 0 0")
            site.machine.succeed(f"echo enough >{pipe}")
            heard[who] = [member for member, *_ in json.loads(listening.stdout.read())["heard"]]
    assert heard == {NOBODY: [], "env": ["JobNew", "PropertiesChanged", "JobRemoved"]}


def test_a_job_is_watched(site: Site) -> None:
    site.redis("redis")
    made = client(site, "Checkpoint", "asa{sv}", ["redis"], {})

    path, job = made["reply"], made["job"]
    members = [(member, where) for member, where, _ in made["heard"]]
    assert members[:2] == [("JobNew", ROOT), ("reply", path)]
    assert set(members[2:-1]) == {("PropertiesChanged", path)}
    assert made["heard"][-1] == ["JobRemoved", ROOT, [job["Id"], path, "done"]]
    lines = [body[1]["LastLine"] for _, _, body in made["heard"][2:-1] if "LastLine" in body[1]]
    assert lines == job["Progress"]
    assert job["LastLine"] == lines[-1]
    assert made["heard"][-2][2][1] == {key: job[key] for key in ("State", "Result", "Results")}
    assert (job["Kind"], job["State"], job["Result"]) == ("checkpoint", "finished", "done")
    assert path == f"{ROOT}/job/{job['Id']}"
    (result,) = job["Results"]
    assert (result["name"], result["outcome"]) == ("redis", "saved")
    assert result["container"] == site.inspect("redis", "{{.Id}}")

    (listed,) = client(site, "List", "a{sv}", {})["reply"]
    assert (listed["state"], listed["checkpoint"]) == ("held", result["checkpoint"])
    shown = site.list()["redis"]
    assert listed.keys() == {key.replace("_", "-") for key in shown}
    assert client(site, "Restore", "asa{sv}", ["redis"], {})["job"]["Results"][0]["outcome"] == "resumed"
    assert client(site, "List", "a{sv}", {})["reply"][0]["last"]["outcome"] == "resumed"


def test_a_second_job_on_the_same_container_is_refused(site: Site) -> None:
    before = site.redis("redis")
    second = f"{CALL} Checkpoint 'asa{{sv}}' 1 redis 0 2>/root/second; test $? -ne 0"
    made = client(site, "Checkpoint", "asa{sv}", ["redis"], {}, then=second)
    assert made["job"]["Result"] == "done"
    assert "by a checkpoint" in site.machine.read("/root/second")
    assert client(site, "Restore", "asa{sv}", ["redis"], {})["job"]["Result"] == "done"
    assert site.seen_in("redis") == before


def test_without_a_worker(site: Site) -> None:
    site.machine.succeed("systemctl stop guardian-worker.service")
    for member, body in (("List", [{}]), ("Checkpoint", [[], {}])):
        name, text = client(site, member, promised()[NAME].methods[member].takes, *body)["error"]
        assert name == f"{ERROR}.WorkerUnavailable"
        assert "systemctl status guardian-worker" in text


def test_a_worker_that_dies_in_the_middle(site: Site) -> None:
    site.redis("redis")
    kill = "systemctl kill --kill-whom=main --signal=KILL guardian-worker.service"
    made = client(site, "Checkpoint", "asa{sv}", ["redis"], {}, then=kill)
    assert made["job"]["Result"] == "failed"
    assert made["job"]["Error"][0] == f"{ERROR}.WorkerUnavailable"
    assert made["heard"][-1][0] == "JobRemoved"
    site.machine.wait_until_succeeds(f"{CALL} List 'a{{sv}}' 0")


def test_a_guardiand_that_dies_in_the_middle(site: Site) -> None:
    before = site.redis("redis")
    site.machine.succeed(
        f"{CALL} Checkpoint 'asa{{sv}}' 1 redis 0 && systemctl kill --signal=KILL guardiand.service"
    )
    site.wait_for(lambda: site.list()["redis"]["state"] == "held")
    assert __version__ in site.machine.succeed(f"busctl get-property {NAME} {ROOT} {NAME} Version")
    assert client(site, "Restore", "asa{sv}", ["redis"], {})["job"]["Result"] == "done"
    assert site.seen_in("redis") == before


def test_it_is_started_by_a_call_and_ends_when_idle(site: Site) -> None:
    site.machine.succeed("systemctl stop guardiand.service")
    site.machine.succeed(f"{CALL} List 'a{{sv}}' 0")
    first = site.machine.unit_property("guardiand.service", "MainPID")
    site.machine.succeed(f"{CALL} List 'a{{sv}}' 0")
    assert site.machine.unit_property("guardiand.service", "MainPID") == first

    drop_in = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment=GUARDIAND_IDLE_SECONDS=0.05\n"
    site.machine.write(DROP_IN, drop_in)
    site.machine.succeed("systemctl daemon-reload; systemctl stop guardiand.service")
    # Each call comes while it starts, is idle, or ends: none is turned away.
    site.machine.succeed(
        f"for i in $(seq 20); do sleep 0.0$((i % 7)); {CALL} List 'a{{sv}}' 0 || exit 1; done"
    )
    site.machine.wait_until_succeeds(
        "systemctl show -P ActiveState guardiand.service | grep -x inactive", timeout=10
    )
    assert site.machine.unit_property("guardiand.service", "Result") == "success"


def test_it_is_small_and_shut_in(site: Site) -> None:
    site.redis("redis")
    for _ in range(5):
        settle(site, f"{CALL} Checkpoint 'asa{{sv}}' 1 redis 1 leave-running b true")
    site.machine.succeed(f"{CALL} List 'a{{sv}}' 0")
    pid = site.machine.unit_property("guardiand.service", "MainPID")
    rollup = site.machine.read(f"/proc/{pid}/smaps_rollup")
    memory = int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))
    print(f"guardiand: {memory / 1024:.1f} MiB PSS")
    assert memory <= MOST_MEMORY
    modules = site.machine.read(f"/proc/{pid}/maps")
    assert "pystemd" not in modules
    # At most 1.0 of 10.
    site.machine.succeed("systemd-analyze security --threshold=10 guardiand.service")


def test_a_snapshot_and_an_inspection(site: Site) -> None:
    """The facts come as a file that the caller reads."""
    site.redis("redis")
    site.wait_for(lambda: site.list()["redis"]["savable"])
    settle(site, f"{CALL} Snapshot 'asa{{sv}}' 1 redis 1 note s mine")
    assert json.loads(site.machine.succeed("guardianctl checkpoints --json"))[0]["note"] == "mine"
    site.machine.write("/root/facts.py", INSPECT)
    found = json.loads(site.machine.succeed("python3 /root/facts.py redis@1"))
    assert found["processes"][0]["command_line"][0].startswith("redis-server")
    refused = site.machine.run(f"{CALL} Inspect 'sa{{sv}}' redis@9 0")
    assert "there is no checkpoint" in refused.stderr
    assert "asked for no container" in site.machine.run(f"{CALL} Inspect 'sa{{sv}}' '' 0").stderr
