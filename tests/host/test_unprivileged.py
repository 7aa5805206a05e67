"""Somebody without rights, in the group `docker` or not, gets nothing of guardian: everything is tried."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guardian.faces.bus_interface import JOB, NAME, ROOT, parse
from tests.host.site import Site

PROGRAM = Path(__file__).with_name("unprivileged.py")
THERE = "/tmp/unprivileged.py"
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
IN_DOCKER = "setpriv --reuid=65534 --regid=65534 --groups=$(getent group docker | cut -d: -f3)"
WHO = pytest.mark.parametrize("who", [NOBODY, IN_DOCKER], ids=["nobody", "docker"])
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
TREES = "/run/guardian /var/lib/guardian"
BODIES: dict[str, Any] = {"as": ["held"], "a{sv}": {}, "s": "held", "h": 0, "v": "VARIANT", "u": 0, "b": True}
OPEN = re.compile(r"/etc/guardian(/guardian\.toml|/hooks(/README.*)?)?")
"""What everybody may look at: the configuration holds no secret, as /etc's files are by default."""
ARGUMENTS = {
    "release": "held",
    "remove": "snapped@1",
    "verify": "held",
    "inspect": "held",
    "memory": "search held x",
    "coredump": "held 1",
    "files": "held",
    "export": "held -o /tmp/unprivileged.tar",
    "import": "/tmp/unprivileged.tar",
    "migrate": "running localhost",
    "next-boot": "cold",
    "snapshot": "running",
    "receive": "1",
    "plan": "running",
}
"""What commands need beside their names; a command that is not here needs nothing."""


@pytest.fixture
def site(site: Site) -> Iterator[Site]:
    """With a container that is held, one with a snapshot, one that runs."""
    site.machine.copy_to(PROGRAM, THERE)
    site.machine.succeed(f"chmod 755 {THERE}; rm -rf /tmp/unprivileged-link /tmp/unprivileged.tar")
    for name in ("held", "snapped", "running"):
        site.redis(name)
    site.machine.succeed("guardianctl snapshot snapped && guardianctl checkpoint held")
    yield site
    site.machine.succeed("guardianctl restore held")
    assert site.outcome("held") == "resumed"


def tried(site: Site, who: str, *words: str) -> Any:
    return json.loads(site.machine.succeed(f"{who} python3 {THERE} {' '.join(map(shlex.quote, words))}"))


def objects(site: Site) -> Iterator[tuple[str, str]]:
    """Every object on guardian's connection, with what it says of itself."""
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        said = site.machine.succeed(
            f"busctl --json=short call {NAME} {path} org.freedesktop.DBus.Introspectable Introspect"
        )
        text = json.loads(said)["data"][0]
        yield path, text
        children = re.findall(r'<node name="([^"]+)"', text)
        waiting += [f"{path.rstrip('/')}/{child}" for child in children]


def arguments(signature: str) -> list[Any]:
    return [BODIES[each] for each in re.findall(r"a\{sv\}|as|[a-z]", signature)]


def calls(site: Site) -> list[list[Any]]:
    """A call of every method and for every property there is, by introspection: a new one is tried by itself."""
    found = []
    for path, text in objects(site):
        for face in parse(text.partition("?>")[2] or re.sub(r"(?s)<!DOCTYPE.*?>", "", text)).values():
            found += [
                [path, face.name, name, method.takes, arguments(method.takes)]
                for name, method in face.methods.items()
            ]
            for name in face.properties:
                properties = "org.freedesktop.DBus.Properties"
                found.append([path, properties, "Get", "ss", [face.name, name]])
                found.append([path, properties, "Set", "ssv", [face.name, name, "VARIANT"]])
    return found


@WHO
def test_every_method_and_property_is_refused(site: Site, who: str) -> None:
    site.machine.succeed(f"busctl call {NAME} {ROOT} {NAME} Snapshot 'asa{{sv}}' 1 snapped 0")
    wanted = calls(site)
    members = {(call[1], call[2]) for call in wanted}
    assert {
        (NAME, each) for each in ("Checkpoint", "Restore", "Release", "Export", "Import", "Plan", "List")
    } <= members
    assert any(call[4][:1] == [JOB] for call in wanted), "there was no job to look at"
    before = site.list()
    found = tried(site, who, "bus", json.dumps(wanted))
    assert len(found) == len(wanted)
    assert [each for each in found if each[1] != DENIED] == []
    assert site.list() == before


@WHO
def test_nobody_hears_starts_or_becomes_guardian(site: Site, who: str) -> None:
    site.machine.succeed("systemctl stop guardiand.service")
    assert tried(site, who, "bus", json.dumps([[ROOT, NAME, "List", "a{sv}", [{}]]])) == [
        [f"{NAME}.List", DENIED]
    ]
    assert site.machine.run("systemctl is-active guardiand.service").status != 0, (
        "a refused call has started it"
    )
    assert DENIED in tried(site, who, "own", NAME)
    site.machine.succeed(
        f"systemd-run --unit=listener --collect -p StandardOutput=file:/tmp/heard -p StandardError=file:/tmp/listens "
        f"sh -c {shlex.quote(f'{who} python3 {THERE} listen 6')}"
    )
    site.machine.wait_until_succeeds("grep -q listening /tmp/listens")
    job = site.machine.succeed(f"busctl call {NAME} {ROOT} {NAME} Snapshot 'asa{{sv}}' 1 snapped 0").split(
        '"'
    )[1]
    site.machine.wait_until_succeeds(f"busctl get-property {NAME} {job} {JOB} State | grep finished")
    site.machine.wait_until_succeeds("! systemctl is-active listener.service")
    heard = json.loads(site.machine.read("/tmp/heard"))
    assert heard["heard"] == []
    assert ["BecomeMonitor", DENIED] in heard["rules"]


def commands(site: Site) -> list[str]:
    """Every command of guardianctl's, as it looks them up itself."""
    code = "from guardian.faces import cli; print(*cli._AT_ONCE, *cli._NAMES)"
    told = site.machine.succeed(f"PYTHONPATH=/usr/lib/docker-guardian python3 -c {shlex.quote(code)}")
    return sorted(set(told.split()))


@WHO
def test_every_command_says_that_it_may_not(site: Site, who: str) -> None:
    before = site.list()
    wrong = []
    assert len(commands(site)) > 15
    for command in commands(site):
        line = f"{who} guardianctl {command} {ARGUMENTS.get(command, '')} </dev/null"
        found = site.machine.run(line, timeout=60)
        said = found.stderr.strip().splitlines()
        clear = len(said) == 1 and said[0].startswith("guardianctl: ") and "root" in said[0]
        if found.status in (0, 2) or not clear or found.stdout.strip():
            wrong.append((command, found.status, found.stdout[-300:], found.stderr[-600:]))
    assert wrong == []
    assert site.list() == before


@WHO
def test_no_file_and_no_socket_can_be_opened(site: Site, who: str) -> None:
    count = int(site.machine.succeed(f"find {TREES} /etc/guardian | wc -l"))
    assert count > 40
    site.machine.succeed("test -S /run/guardian/worker.sock && test -S /run/guardian/fence.sock")
    listed = f"find {TREES} /etc/guardian -print0"
    found = json.loads(site.machine.succeed(f"{listed} | {who} python3 {THERE} files"))
    allowed = {"read", "list", "look"}
    top = {"/run/guardian", "/var/lib/guardian"}  # that they are there is no secret
    left = {
        path: worked
        for path, worked in found.items()
        if not (OPEN.fullmatch(path) and set(worked) <= allowed) and not (path in top and worked == ["look"])
    }
    assert left == {}


def test_no_socket_but_those_in_its_folder(site: Site) -> None:
    """Neither an abstract name nor a port, which have no mode."""
    told = site.machine.succeed("ss -Hlxp; ss -Hltunp")
    own = [line for line in told.splitlines() if "guardian" in line or '("ask"' in line or '("fence"' in line]
    assert len([line for line in own if "/run/guardian/" in line]) >= 2, told
    assert [line for line in own if "/run/guardian/" not in line and "/run/systemd" not in line] == []


@pytest.mark.parametrize("loose", [False, True], ids=["as-installed", "store-in-an-open-folder"])
def test_nothing_can_be_reached_at_any_instant(site: Site, *, loose: bool) -> None:
    """Over a checkpoint, a snapshot and a restore, in a loop; also where the administrator's store was made 0755."""
    store = "/var/lib/guardian/checkpoints"
    if loose:
        store = "/srv/store"
        site.machine.succeed(f"guardianctl restore held; rm -rf {store}; mkdir -m 755 {store}")
        site.set_up_guardian(f'[store]\npath = "{store}"\nreserve = "1M"\n')
        site.machine.succeed("guardianctl checkpoint held")
    site.machine.succeed(
        f"rm -f /tmp/enough /tmp/watched; systemd-run --unit=watcher --collect -p StandardOutput=file:/tmp/watched "
        f"python3 {THERE} watch /tmp/enough {TREES} {store}"
    )
    for line in (
        "snapshot running",
        "checkpoint running",
        "restore running",
        "restore held",
        "checkpoint held",
    ):
        site.machine.succeed(f"guardianctl {line}")
    site.restart_docker()
    site.machine.succeed("guardianctl checkpoint held; touch /tmp/enough")
    site.machine.wait_until_succeeds("! systemctl is-active watcher.service")
    found = json.loads(site.machine.read("/tmp/watched"))
    shown = sorted({re.sub(r"[0-9a-f]{64}|[0-9T]+-[0-9a-f]{6}", "*", each) for each in found["loose"]})
    print(found["rounds"], found["entries"], shown)
    # What runc and CRIU write at a restore (a pid file under its first name, too), in folders that nobody else gets
    # into; no image is among it.
    by_others = r".*/(\.canary-[^/]*|holders/\*/\.?init\.pid|work-restore/[^/]*)(/.*)?"
    assert [each for each in shown if not re.fullmatch(rf"0644 {by_others}|0755 /srv/store", each)] == []
    assert found["rounds"] > 20
    assert found["entries"] > 100
    if loose:
        # The folder is the administrator's own, and what it shows is names: ids of containers.
        assert found["reachable"] == ["0755 /srv/store"]
        listed = site.machine.succeed(f"find {store} -print0 | {NOBODY} python3 {THERE} files")
        assert {path for path, worked in json.loads(listed).items() if worked != ["look"]} <= {store}
        site.machine.succeed("guardianctl restore held; rm -rf /srv/store")
        site.machine.succeed(
            "mv /root/guardian.toml.kept /etc/guardian/guardian.toml; systemctl restart guardian-worker"
        )
        site.machine.wait_until_succeeds("guardianctl checkpoint held")
    else:
        assert found["reachable"] == []
        # The environment of a container that was restored.
        folder = f"/run/containerd/io.containerd.runtime.v2.task/moby/{site.inspect('running', '{{.Id}}')}"
        assert site.machine.succeed(f"stat -c %a {folder}/config.json").strip() == "600"


def test_what_the_package_installs_is_roots(site: Site) -> None:
    files = site.machine.succeed("dpkg -L docker-guardian").split("\n")
    modes = site.machine.succeed(
        "dpkg -L docker-guardian | tr '\\n' '\\0' | xargs -0 stat -c '%a %u %g %F %n'"
    ).splitlines()
    assert len(modes) > 100
    assert len(modes) == len([file for file in files if file])
    for line in modes:
        mode, user, group, *rest = line.split(" ", 3)
        if rest[0].startswith("symbolic link"):
            continue
        assert (user, group) == ("0", "0"), line
        assert int(mode, 8) & 0o022 == 0, line
        assert int(mode, 8) & 0o6000 == 0, line
    units = [Path(file).name for file in files if re.search(r"/systemd/system/guardian[^/]*\.service$", file)]
    assert len(units) >= 8
    for unit in units:
        shown = dict(
            line.split("=", 1)
            for line in site.machine.succeed(
                f"systemctl show -p RuntimeDirectory,RuntimeDirectoryMode,StateDirectory,StateDirectoryMode,User {unit}"
            ).splitlines()
        )
        for kind in ("RuntimeDirectory", "StateDirectory"):
            assert not shown[kind] or shown[f"{kind}Mode"] == "0700", (unit, shown)
        assert not shown["User"]
    assert site.machine.succeed(f"stat -c %a {TREES}").split() == ["700", "700"]


@WHO
def test_the_programs_do_nothing_for_others(site: Site, who: str) -> None:
    """Those that units and containerd run, by hand."""
    before = site.list(), site.machine.succeed("docker ps -aq --no-trunc | sort")
    for line in (
        *(
            "ask 5 engine-died",
            "ask 5 engine-stops",
            "ask 5 engine-is-up",
            "fence look",
            "hold",
            "hold notice",
        ),
        *("emergency", "canary", "commit"),
        f"holder create {'0' * 64}",
    ):
        found = site.machine.run(
            f"{who} timeout 30 /usr/libexec/docker-guardian/{line} </dev/null", timeout=60
        )
        print(line, found.status, found.stderr[-200:])
    assert (site.list(), site.machine.succeed("docker ps -aq --no-trunc | sort")) == before
    site.machine.succeed(f"test -e /run/guardian/holds/{site.inspect('held', '{{.Id}}')}")
    site.machine.succeed("systemctl is-active guardian-worker guardian-fence")
