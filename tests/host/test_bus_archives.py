"""Export and Import over the bus: an archive goes into a descriptor, and a container comes out of one."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guardian.faces.bus_interface import JOB, NAME, ROOT
from tests.host.archives import ARCHIVE, state_of
from tests.host.site import Site

TOP = Path(__file__).resolve().parents[2]
ERROR = f"{NAME}.Error"
NEW = ["O_WRONLY", "O_CREAT", "O_TRUNC"]
YES = {"variant": ["b", True]}


def text(value: str) -> dict[str, Any]:
    return {"variant": ["s", value]}


@pytest.fixture
def site(site: Site) -> Iterator[Site]:
    """With the client on it, no archive and no jobs yet; the worker runs afterwards."""
    site.machine.copy_to(Path(__file__).with_name("bus_client.py"), "/root/bus_client.py")
    site.machine.succeed(f"systemctl stop guardiand.service; rm -f {ARCHIVE} /root/by-bus /root/pipe")
    yield site
    site.machine.succeed("systemctl start guardian-worker.service")


def call(site: Site, member: str, *body: Any, file: list[str], before: str = "") -> dict[str, Any]:
    """What one call with a descriptor came to, as bus_client.py tells it."""
    signature = "sha{sv}" if member == "Export" else "ha{sv}"
    wanted = {"member": member, "signature": signature, "body": body, "file": file}
    found: dict[str, Any] = json.loads(
        site.machine.succeed(f"{before} python3 /root/bus_client.py {shlex.quote(json.dumps(wanted))}")
    )
    return found


def members(site: Site, path: str) -> list[str]:
    return site.machine.succeed(f"zstd -dcf {path} | tar -t").splitlines()


def no_child(site: Site) -> None:
    """What the worker started has ended, and it has no descriptor of an archive."""
    site.machine.succeed("! pgrep -f '[g]uardianctl (export|import|migrate)'")
    worker = site.machine.unit_property("guardian-worker.service", "MainPID")
    site.machine.succeed(f"! ls -l /proc/{worker}/fd | grep -e /root/ -e by-bus")


def test_an_archive_through_descriptors(site: Site) -> None:
    """As guardianctl export writes it; and what is imported from it goes on."""
    before = site.redis("redis", "-v kept:/kept")
    site.machine.succeed(
        "docker exec redis sh -c 'echo in a volume >/kept/file'; guardianctl checkpoint redis"
    )
    site.machine.succeed(f"guardianctl export redis -o {ARCHIVE} --volumes all")

    made = call(site, "Export", "redis@1", 0, {"volumes": text("all")}, file=["/root/by-bus", *NEW])
    assert (made["job"]["Kind"], made["job"]["Result"]) == ("export", "done"), made["job"]
    (result,) = made["job"]["Results"]
    assert (result["name"], result["outcome"]) == ("redis", "exported")
    assert result["container"] == site.inspect("redis", "{{.Id}}")
    assert result["checkpoint"] == site.list()["redis"]["checkpoint"]
    assert members(site, "/root/by-bus") == members(site, ARCHIVE)
    assert "guardian/volumes/kept.tar" in members(site, "/root/by-bus")

    site.machine.succeed("docker rm -f redis; docker volume rm kept")
    made = call(site, "Import", 0, {"resume": YES, "name": text("again")}, file=["/root/by-bus", "O_RDONLY"])
    assert (made["job"]["Kind"], made["job"]["Result"]) == ("import", "done"), made["job"]
    assert [(item["name"], item["outcome"]) for item in made["job"]["Results"]] == [("again", "resumed")]
    assert site.seen_in("again") == before
    assert site.machine.succeed("docker exec again cat /kept/file") == "in a volume\n"
    no_child(site)


def test_a_held_import_and_what_stands_in_its_way(site: Site) -> None:
    before = site.redis("redis")
    site.machine.succeed(f"guardianctl checkpoint redis; guardianctl export redis -o {ARCHIVE}")
    there = state_of(site)
    made = call(site, "Import", 0, {}, file=[ARCHIVE, "O_RDONLY"])
    assert made["job"]["Result"] == "refused"
    assert made["job"]["Error"][0] == f"{ERROR}.BadInput"
    assert "there is a container 'redis' already" in made["job"]["Error"][1]
    assert state_of(site) == there

    site.machine.succeed("docker rm -f redis")
    made = call(site, "Import", 0, {}, file=[ARCHIVE, "O_RDONLY"])
    assert [(item["name"], item["outcome"]) for item in made["job"]["Results"]] == [("redis", "imported")]
    assert site.list()["redis"]["state"] == "held"
    site.machine.succeed("guardianctl restore redis")
    assert site.seen_in("redis") == before


def test_a_running_container_through_a_pipe(site: Site) -> None:
    """The pipe's reader sees its end; the container goes on, and the snapshot that was taken is gone."""
    before = site.redis("redis", guarded=False)
    made = call(
        site,
        "Export",
        "redis",
        0,
        {"compress": text("none")},
        file=["/root/pipe", "O_WRONLY"],
        before="mkfifo /root/pipe; timeout 60 cat /root/pipe >/root/by-bus & ",
    )
    assert made["job"]["Result"] == "done", made["job"]
    site.machine.wait_until_succeeds("tar -tf /root/by-bus | tail -n 1 | grep -x guardian/manifest.json")
    assert site.seen_in("redis") == before
    assert json.loads(site.machine.succeed("guardianctl checkpoints --json")) == []

    # Nobody reads: the job says so, and the container goes on all the same.
    gone = call(
        site,
        "Export",
        "redis",
        0,
        {"compress": text("none")},
        file=["/root/pipe", "O_WRONLY"],
        before="timeout 60 head -c 100 /root/pipe >/dev/null & ",
    )
    assert (gone["job"]["Result"], gone["job"]["Results"]) == ("failed", [])
    assert "gone away" in gone["job"]["Error"][1]
    assert site.seen_in("redis") == before
    no_child(site)


READ, FOLDER = [ARCHIVE, "O_RDONLY"], ["/root", "O_RDONLY"]
WRITE = ["/root/by-bus", *NEW]
REFUSED: list[tuple[str, list[Any], list[str], str, str]] = [
    ("Export", ["nope", 0, {}], WRITE, "NoCheckpoint", "nope"),
    ("Export", ["--output=/root/x", 0, {}], WRITE, "BadInput", "is no name"),
    ("Export", ["redis", 0, {"output": text("/root/x")}], WRITE, "BadInput", "it takes with-image (b)"),
    ("Export", ["redis", 0, {"encrypt-to": text("/etc/shadow")}], WRITE, "BadInput", "a public key"),
    ("Export", ["redis", 0, {"with-image": text("yes")}], WRITE, "BadInput", "must be 'b'"),
    ("Export", ["redis@1", 0, {}], READ, "BadInput", "not open for writing"),
    ("Import", [0, {"identity": text("/root/key")}], READ, "BadInput", "it takes name (s)"),
    ("Import", [0, {"name": text("--force")}], READ, "BadInput", "a container's name"),
    ("Import", [0, {}], FOLDER, "BadInput", "no file, pipe or socket"),
    ("Import", [0, {}], ["/dev/zero", "O_RDONLY"], "BadInput", "no file, pipe or socket"),
    ("Import", [0, {}], ["/root/by-bus", *NEW], "BadInput", "not open for reading"),
]


def test_what_is_refused(site: Site) -> None:
    site.redis("redis")
    site.machine.succeed(f"guardianctl checkpoint redis; guardianctl export redis -o {ARCHIVE}")
    before = state_of(site)
    for member, body, file, name, said in REFUSED:
        error = call(site, member, *body, file=file)["error"]
        assert error is not None, (member, body)
        assert (error[0], said in error[1]) == (f"{ERROR}.{name}", True), (member, body, error)
    assert state_of(site) == before
    site.machine.succeed("! test -e /root/x; test ! -s /root/by-bus")
    assert f"{ROOT}/job" not in site.machine.succeed(f"busctl tree --list {NAME}")
    bad = call(site, "Import", 0, {}, file=["/etc/passwd", "O_RDONLY"])
    assert bad["job"]["Result"] == "refused", bad["job"]
    assert state_of(site) == before
    no_child(site)


def test_the_program_of_the_documentation(site: Site) -> None:
    (program,) = re.findall(
        r"^```python\n(.*?)^```", (TOP / "docs/dbus.md").read_text(), re.DOTALL | re.MULTILINE
    )
    site.machine.write("/root/archive.py", program)
    before = site.redis("redis")
    site.machine.succeed("guardianctl checkpoint redis")
    for words in ("export redis /root/by-bus", "import /root/by-bus"):
        path = site.machine.succeed(f"cd /root; umask 077; python3 archive.py {words}").strip()
        site.machine.wait_until_succeeds(f"busctl get-property {NAME} {path} {JOB} State | grep finished")
        assert site.machine.succeed(f"busctl get-property {NAME} {path} {JOB} Result") == 's "done"\n'
        if words.startswith("export"):
            site.machine.succeed("docker rm -f redis")
    assert site.seen_in("redis") == before


def test_the_worker_ends_and_the_archive_is_written_all_the_same(site: Site) -> None:
    """The first bytes are read; then the worker is stopped, and the rest comes."""
    site.redis("redis")
    site.machine.succeed("guardianctl checkpoint redis; mkfifo /root/pipe")
    read = (
        "exec 3</root/pipe; dd bs=1 count=1 <&3 2>/dev/null >/root/by-bus;"
        " systemctl stop guardian-worker.service; cat <&3 >>/root/by-bus; touch /root/read"
    )
    site.machine.write("/root/read.sh", read)
    made = call(
        site,
        "Export",
        "redis",
        0,
        {"compress": text("none")},
        file=["/root/pipe", "O_WRONLY"],
        before="rm -f /root/read; setsid timeout 60 bash /root/read.sh >/dev/null 2>&1 & ",
    )
    assert made["job"]["Error"][0] == f"{ERROR}.WorkerUnavailable", made["job"]
    site.machine.wait_until_succeeds("test -e /root/read")
    site.machine.succeed("tar -tf /root/by-bus | tail -n 1 | grep -x guardian/manifest.json")
