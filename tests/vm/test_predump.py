"""Memory written ahead, on a kernel that can: chains of images, and the standstill that they make short."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.outside import PROGRAMS, Program, client, unnoticed
from tests.host.site import Site
from tests.machines import VirtualMachine

STORE = "/var/lib/guardian/checkpoints"
MIB = 96
LABEL = "--label guardian.pre-dump=2"
SAYS = "nothing is written ahead"


@dataclasses.dataclass(frozen=True)
class Bench:
    """The machine with a server that has much memory, and a client of it outside."""

    site: Site
    client: Program

    def seen(self, name: str = "web") -> tuple[str, int]:
        """The token that only its process knows, and how far it is; its memory is what it was."""
        token, number, *what = self.site.machine.succeed(f"cat /root/state/{name}").split()
        assert what == ["good"]
        return token, int(number)

    def goes_on(self, before: tuple[str, int], name: str = "web") -> None:
        """The same process is at it, and finds its memory as it was; its client has noticed nothing."""
        self.site.wait_for(lambda: self.seen(name)[1] > before[1] + 3)
        assert self.seen(name)[0] == before[0]
        if name == "web":
            unnoticed(self.client)

    def newest(self, name: str = "web") -> str:
        """The folder of its newest checkpoint."""
        return self.site.machine.succeed(f"ls -d {STORE}/{self.id(name)}/2* | tail -1").strip()

    def id(self, name: str = "web") -> str:
        return self.site.inspect(name, "{{.Id}}")

    @property
    def cgroup(self) -> str:
        return f"/sys/fs/cgroup/system.slice/docker-{self.id()}.scope"

    def pages(self, folder: str) -> list[int]:
        """Bytes of pages in the first step, the second, the last."""
        return [
            int(self.site.machine.succeed(f"cat {folder}/img/{part}/pages-*.img | wc -c"))
            for part in ("pre-1", "pre-2", ".")
        ]

    def frozen_for(self) -> float:
        """Seconds that it stood still for its newest dump."""
        times = json.loads(self.site.machine.succeed(f"cat {self.newest()}/times.json"))
        return float(times["dumped"] - times["frozen"])


@pytest.fixture(scope="module")
def bench(package: Path) -> Iterator[Bench]:
    with VirtualMachine() as machine, contextlib.ExitStack() as stack:
        site = Site(machine)
        site.install(package)
        for name in ("ballast", "server"):
            machine.copy_to(PROGRAMS / f"{name}.py", f"/root/{name}.py")
        _start(site, "web", f"{MIB} /state/web /server.py 80", f"-p 8080:80 --restart always {LABEL}")
        connected = stack.enter_context(client(site, 8080))
        yield Bench(site, connected)
        print(site.told())


def _start(site: Site, name: str, arguments: str, options: str) -> None:
    mounts = "-v /root/state:/state -v /root/ballast.py:/ballast.py:ro -v /root/server.py:/server.py:ro"
    site.run(name, f"python3 -u /ballast.py {arguments}", mounts, options)
    site.machine.wait_until_succeeds(f"test -s /root/state/{name}")


def _listed(bench: Bench, name: str) -> dict[str, Any]:
    found = json.loads(bench.site.machine.succeed(f"guardianctl checkpoints --json {name}"))
    return dict(found[-1])


def test_a_snapshot_builds_upon_what_was_written_ahead(bench: Bench) -> None:
    machine, before, pid = bench.site.machine, bench.seen(), bench.site.inspect("web", "{{.State.Pid}}")
    said = machine.succeed("guardianctl snapshot web")
    assert SAYS not in said
    bench.goes_on(before)
    assert bench.site.inspect("web", "{{.State.Pid}}") == pid
    folder = bench.newest()
    assert machine.succeed(f"cd {folder}/img && readlink parent pre-2/parent").split() == [
        "pre-2",
        "../pre-1",
    ]
    first, second, last = bench.pages(folder)
    print(f"pages: {first}, {second}, {last}")
    assert first > MIB << 20
    assert second < first / 4
    assert last < first / 4
    modes = machine.succeed(
        f"find {folder}/img {folder}/work -not -type l -printf '%y%m\\n' | sort -u"
    ).split()
    assert set(modes) <= {"d700", "f600"}
    assert _listed(bench, "web")["size"] > first + second + last


def test_the_standstill_is_shorter(bench: Bench) -> None:
    seconds: dict[int, list[float]] = {0: [], 2: []}
    for count in (0, 2, 0, 2):
        bench.site.machine.succeed(f"guardianctl snapshot web --pre-dump {count}")
        seconds[count].append(bench.frozen_for())
    print(f"frozen to dumped: {seconds}")
    assert min(seconds[2]) < min(seconds[0])
    bench.goes_on(bench.seen())


def test_what_lies_in_a_parent_is_found(bench: Bench) -> None:
    machine, folder = bench.site.machine, bench.newest()
    backwards = bench.seen()[0][::-1]
    in_parent = int(machine.succeed(f"grep -ao {backwards} {folder}/img/pre-1/pages-*.img | wc -l"))
    in_last = int(machine.succeed(f"grep -aoh {backwards} {folder}/img/pages-*.img | wc -l"))
    assert in_parent >= MIB
    assert in_last < MIB
    name = _listed(bench, "web")["name"]
    hits = machine.succeed(f"guardianctl memory search {name} {backwards} --json --most 10000").splitlines()
    assert len(hits) >= MIB
    told = json.loads(machine.succeed(f"guardianctl inspect {name} --json"))
    # A command line is read from the process's memory, from a page that has not changed.
    assert [process["command_line"] for process in told["processes"]] == [
        ["python3", "-u", "/ballast.py", str(MIB), "/state/web", "/server.py", "80"]
    ]


def test_damage_in_a_parent_is_found(bench: Bench) -> None:
    machine, folder, name = bench.site.machine, bench.newest(), _listed(bench, "web")["name"]
    machine.wait_until_succeeds(f"test -e {folder}/manifest.json")
    machine.succeed(f"guardianctl verify {name}")
    machine.succeed(
        f"printf X | dd of={folder}/img/pre-1/pages-1.img bs=1 seek=100000 conv=notrunc status=none"
    )
    status, told = machine.execute(f"guardianctl verify {name}")
    assert (status, "img/pre-1/pages-1.img has changed" in told) == (1, True)
    machine.succeed(f"guardianctl remove {name}")
    machine.wait_until_succeeds(f"! test -e {STORE}/.erased")


def test_an_archive_of_it_lives_on(bench: Bench) -> None:
    machine = bench.site.machine
    _start(bench.site, "plain", "16 /state/plain", "")
    before = bench.seen("plain")
    assert SAYS not in machine.succeed("guardianctl checkpoint plain --pre-dump 3")
    assert machine.succeed(f"readlink {bench.newest('plain')}/img/parent").strip() == "pre-3"
    machine.succeed("guardianctl export plain -o /root/plain.tar --compress none && docker rm -f plain")
    listed = machine.succeed("tar -tvf /root/plain.tar | grep -- '->' | sed 's/.* checkpoint/checkpoint/'")
    assert listed.splitlines() == [
        "checkpoint/parent -> pre-3",
        "checkpoint/pre-2/parent -> ../pre-1",
        "checkpoint/pre-3/parent -> ../pre-2",
    ]
    machine.succeed("guardianctl import /root/plain.tar --resume")
    assert bench.site.outcome("plain") == "resumed", bench.site.reason("plain")
    bench.goes_on(before, "plain")
    machine.succeed("docker rm -f plain; rm /root/plain.tar")


def test_a_checkpoint_by_hand_and_its_restore(bench: Bench) -> None:
    machine, before = bench.site.machine, bench.seen()
    assert SAYS not in machine.succeed("guardianctl checkpoint web")
    folder = bench.newest()
    first, _, last = bench.pages(folder)
    assert last < first / 4
    machine.succeed("guardianctl restore web")
    assert (bench.site.outcome("web"), bench.site.reason("web")) == ("resumed", "")
    bench.goes_on(before)


_STRIKE = f"""\
import glob, os, signal, sys, time
moment, cgroup, init, worker, number = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])
old = set(glob.glob("{STORE}/*/*/img/pre-1"))
def text(path):
    try:
        return open(path).read()
    except OSError:
        return ""
def criu():
    return [pid for pid in os.listdir("/proc") if text(f"/proc/{{pid}}/comm") == "criu\\n"]
def reached():
    if moment == "frozen":
        return text(f"{{cgroup}}/cgroup.freeze") == "1\\n"
    if moment == "infected":
        return "CRIUMFD" in text(f"/proc/{{init}}/maps")
    new = [p for p in glob.glob("{STORE}/*/*/img/pre-1/pages-*.img") if os.path.dirname(p) not in old]
    return any(os.path.getsize(path) for path in new)
end = time.monotonic() + 300
open("/run/striking", "w")
while not reached():
    if time.monotonic() > end:
        sys.exit("it never came to it")
struck = criu() if worker != "only" else []
for pid in ([] if worker == "-" else [text("/run/worker").strip()]) + struck:
    try:
        os.kill(int(pid), number)
    except OSError:
        pass
open("/run/struck", "w").write(f"{{len(struck)}} {{text(cgroup + '/cgroup.freeze')}}")
"""


def _strike(bench: Bench, moment: str, worker: str, number: int = 9) -> None:
    """Have CRIU (`worker` is "-"), it and the worker ("too"), or the worker ("only") struck in the middle of a step."""
    machine = bench.site.machine
    machine.write("/root/strike.py", _STRIKE)
    init = machine.succeed(f"head -1 {bench.cgroup}/cgroup.procs").strip()
    machine.succeed(
        "rm -f /run/struck /run/striking; systemctl show -P MainPID guardian-worker >/run/worker;"
        f"systemd-run --collect --unit=strike python3 /root/strike.py {moment} {bench.cgroup} {init} {worker} {number}"
    )
    machine.wait_until_succeeds("test -e /run/striking")


def _untouched(bench: Bench, before: tuple[str, int]) -> None:
    """It goes on, nothing is left over, and the next checkpoint is an ordinary one."""
    machine = bench.site.machine
    machine.wait_until_succeeds("systemctl is-active guardian-worker && guardianctl list")
    machine.wait_until_succeeds(
        '[ -z "$(ls /run/guardian/frozen /run/guardian/holds | grep -v :)" ] && ! pgrep -x criu'
    )
    assert machine.succeed(f"cat {bench.cgroup}/cgroup.freeze").strip() == "0"
    bench.goes_on(before)
    assert bench.site.inspect("web", "{{.RestartCount}}") == "0"


@pytest.mark.parametrize("moment", ["frozen", "infected", "writing"])
def test_criu_killed_in_the_middle(bench: Bench, moment: str) -> None:
    """The dump is a full one then."""
    before = bench.seen()
    _strike(bench, moment, "-")
    said = bench.site.machine.succeed("guardianctl snapshot web --pre-dump 2")
    print(bench.site.machine.succeed("cat /run/struck"), said)
    assert f"web: {SAYS}: " in said
    assert "saved as web@" in said
    images = f"{bench.newest()}/img"
    assert not bench.site.machine.succeed(f"find {images} -name 'pre-*' -o -name parent").strip()
    _untouched(bench, before)


@pytest.mark.parametrize(("moment", "worker"), [("frozen", "too"), ("writing", "too"), ("writing", "only")])
def test_the_worker_killed_in_the_middle(bench: Bench, moment: str, worker: str) -> None:
    """The next one finds what is left, and removes it."""
    before = bench.seen()
    _strike(bench, moment, worker)
    assert bench.site.machine.execute("guardianctl checkpoint web")[0] == 1
    folder = bench.newest()
    _untouched(bench, before)
    bench.site.machine.wait_until_succeeds(f"test -e {folder}/ledger/void && ! test -e {folder}/img")
    assert bench.site.list()["web"]["last"]["outcome"] == "skipped"


def test_one_that_hangs_is_ended(bench: Bench) -> None:
    before = bench.seen()
    bench.site.set_up_guardian("[checkpoint]\ncontainer-timeout = 90\n")
    _strike(bench, "writing", "-", 19)
    said = bench.site.machine.succeed("guardianctl snapshot web --pre-dump 1", timeout=600)
    assert f"web: {SAYS}: it took longer than " in said
    _untouched(bench, before)


_BREAK = f"""#!/bin/sh
[ "$1" = pre-checkpoint ] || exit 0
for step in {STORE}/$GUARDIAN_ID/*/img/pre-2; do mv "$step" "$step.away" && touch /run/broken; done
exit 0
"""


def test_a_dump_that_fails_upon_them_is_made_without(bench: Bench) -> None:
    """What was written ahead is gone at the dump, on the way down: it costs nobody the memory."""
    site = bench.site
    site.machine.write("/etc/guardian/hooks/break", _BREAK)
    site.machine.succeed("chmod 755 /etc/guardian/hooks/break")
    _start(site, "broken", "16 /state/broken", f"{LABEL} --label guardian.hook=break")
    before = bench.seen("broken"), bench.seen()
    site.restart_docker()
    assert site.machine.succeed("ls /run/broken")
    assert "once more: broken" in site.machine.succeed("journalctl -b --no-pager -u 'guardian-*'")
    assert (site.outcome("broken"), site.reason("broken")) == ("resumed", "")
    bench.goes_on(before[0], "broken")
    bench.goes_on(before[1])
    site.machine.succeed("docker rm -f broken; rm /etc/guardian/hooks/break")


def test_a_true_reboot(bench: Bench) -> None:
    """The way down: what was written ahead is used, and the connection lives on."""
    bench.site.set_up_guardian("")
    before, boot = bench.seen(), bench.site.machine.boot_id()
    begun = bench.site.machine.succeed("date +%s").strip()
    bench.site.reboot()
    assert bench.site.machine.boot_id() != boot
    assert (bench.site.outcome("web"), bench.site.reason("web")) == ("resumed", "")
    bench.goes_on(before)
    assert bench.site.machine.succeed(f"cat {bench.newest()}/ahead").strip() == "2"
    told = bench.site.machine.succeed(f"journalctl -b -1 --no-pager -u guardian-worker --since @{begun}")
    assert "web: saved" in told
    assert SAYS not in told
