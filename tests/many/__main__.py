"""`make test-many`: 45 containers of mixed size in one group, 2,000 and 5,000 processes, 20,000 open files.

Exit status 0 only if every line keeps its bar and every container resumed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.bench.__main__ import Line
from tests.host.site import REDIS, Site
from tests.machines import ContainerHost

_REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = 45
PARALLEL = 2
LIMIT = 600
"""Seconds for one container: thousands of processes take minutes."""
PROCESSES, MORE_PROCESSES, FILES = 2000, 5000, 20000
_MEGABYTES = (1, 1, 1, 4, 16, 1, 64, 1, 128)
"""What the containers have in memory, in turn: 45 of them have 1.1 GiB."""
_MANY_PROCESSES = """\
import os, subprocess, sys, time
for number in range(int(sys.argv[1]) - 1):
    subprocess.Popen(["sleep", "1000000"])
n = 0
while True:
    n += 1
    open("/tmp/new", "w").write(str(n)); os.rename("/tmp/new", "/tmp/n"); time.sleep(0.1)
"""
"""Small ones: CRIU keeps what forked processes share once for each."""
_HOLDERS = 25
_MANY_FILES = f"""\
import os, time
os.makedirs("/tmp/many", exist_ok=True)
def hold(holder):
    kept = []
    for number in range({FILES // _HOLDERS}):
        kept.append(open(f"/tmp/many/{{holder}}-{{number}}", "w")); kept[-1].write(str(number)); kept[-1].flush()
    while True:
        good = sum(file.tell() > 0 and os.fstat(file.fileno()).st_nlink for file in kept)
        open(f"/tmp/new{{holder}}", "w").write(str(good)); os.rename(f"/tmp/new{{holder}}", f"/tmp/held{{holder}}")
        time.sleep(0.2)
for holder in range({_HOLDERS}):
    if os.fork() == 0:
        hold(holder)
n = 0
while True:
    n += 1
    try:
        held = sum(int(open(f"/tmp/held{{holder}}").read()) for holder in range({_HOLDERS}))
    except FileNotFoundError:
        continue
    open("/tmp/new", "w").write(f"{{n}} {{held}}"); os.rename("/tmp/new", "/tmp/n")
    time.sleep(0.1)
"""


def start(site: Site) -> dict[str, str]:
    """The 45, one group by their dependencies; returns what each redis is known by."""
    site.run("hub", REDIS, "--restart always")
    for number in range(1, COUNT):
        site.run(f"c{number}", REDIS, "--restart always -l guardian.depends-on=hub")
    for number in range(COUNT):
        name = f"c{number}" if number else "hub"
        size = _MEGABYTES[number % len(_MEGABYTES)]
        site.machine.wait_until_succeeds(f"docker exec {name} redis-cli ping")
        site.machine.succeed(f"docker exec {name} redis-cli debug populate {size * 10} k 100000", timeout=60)
    return {name: run_id(site, name) for name in names()}


def names() -> list[str]:
    """Those of the 45."""
    return ["hub", *(f"c{number}" for number in range(1, COUNT))]


def run_id(site: Site, name: str) -> str:
    """What tells one redis process from another, and how much it holds."""
    told = site.machine.succeed(
        f"docker exec {name} redis-cli info server; docker exec {name} redis-cli dbsize"
    )
    lines = told.splitlines()
    return next(line for line in lines if line.startswith("run_id:")).strip() + lines[-1]


class Writing:
    """How many dumps write at once: processes of CRIU without a commit script below them, which says they are done."""

    def __init__(self, site: Site) -> None:
        assert isinstance(site.machine, ContainerHost)
        self._init = site.machine.init
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.most = 0
        self.samples = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            found = self._now()
            self.samples += 1
            self.most = max(self.most, found)

    def _now(self) -> int:
        dumps = 0
        for folder in Path(f"/proc/{self._init}/root/var/lib/guardian/checkpoints").glob("*/*"):
            marks = {path.name for path in (folder / "ledger").glob("*")}
            written = folder / "work" / "dump.log"
            if written.exists() and marks & {"locked"} and not marks & {"dumped", "verdict", "void"}:
                dumps += not _told_the_script(written)
        return dumps


def _told_the_script(log: Path) -> bool:
    """Whether CRIU has come to its post-dump script: all is written, and its slot may be another one's."""
    try:
        return b"Running post-dump scripts" in log.read_bytes()[-20000:]
    except OSError:
        return True


def memory(site: Site) -> float:
    """MiB that guardian's resident processes have at most had for themselves since they began."""
    told = site.machine.succeed(
        "for unit in guardian-worker guardian-fence guardiand; do pid=$(systemctl show -P MainPID $unit);"
        " [ $pid = 0 ] || awk '/^VmHWM/ { print $2 }' /proc/$pid/status; done"
    )
    return sum(int(word) for word in told.split()) / 1024


def forty_five(site: Site) -> Iterator[Line]:
    """Plan, save and resume of all."""
    before = start(site)
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        total = json.loads(site.machine.succeed("guardianctl plan --json"))["total"]
        seconds.append(time.monotonic() - begun)
        assert total["savable"] == COUNT, total
    yield Line(f"plan of {COUNT} containers, the slowest of three", max(seconds), 2.0, "s")
    begun = time.monotonic()
    with Writing(site) as writing:
        site.machine.succeed("systemctl stop docker.service docker.socket", timeout=600)
    yield Line(f"stop of docker.service, {COUNT} saved", time.monotonic() - begun, 600.0, "s")
    assert writing.most >= 1, f"no dump was seen at work in {writing.samples} looks"
    yield Line("dumps that write at once", writing.most, PARALLEL, "", f"in {writing.samples} looks")
    begun = time.monotonic()
    site.machine.succeed("systemctl start docker.service", timeout=600)
    site.wait_restored()
    yield Line("start of docker.service, all resumed", time.monotonic() - begun, 900.0, "s")
    listed = site.list()
    cold = [name for name in names() if listed[name]["last"]["outcome"] != "resumed"]
    yield Line(
        "not resumed", len(cold), 0, "", ", ".join(f"{name}: {site.reason(name)}" for name in cold[:3])
    )
    another = sum(run_id(site, name) != known for name, known in before.items())
    yield Line("another memory than before", another, 0, "")
    yield Line("worker, fence and D-Bus service, at most", memory(site), 150.0, "MiB")


def single(
    site: Site, name: str, program: str, options: str, argument: int = 0, *, foretold: str = ""
) -> Iterator[Line]:
    """One container whose program counts in /tmp/n, through a restart of docker: resumed.

    Or cold with the reason that the plan has, where that has the word `foretold`.
    """
    site.machine.write(f"/root/{name}.py", program)
    site.run(
        name, f"python3 /{name}.py {argument}", f"--restart always {options} -v /root/{name}.py:/{name}.py:ro"
    )
    site.wait_for(lambda: site.machine.execute(f"docker exec {name} cat /tmp/n")[0] == 0, timeout=120)
    before = site.machine.succeed(f"docker exec {name} cat /tmp/n").split()
    (planned,) = json.loads(site.machine.succeed("guardianctl plan --json"))["containers"]
    cold = [item["what"] for item in planned["obstacles"] if foretold and foretold in item["what"]]
    begun = time.monotonic()
    site.machine.succeed("systemctl stop docker.service docker.socket", timeout=LIMIT)
    yield Line(f"{name}: saved", time.monotonic() - begun, LIMIT, "s")
    begun = time.monotonic()
    site.machine.succeed("systemctl start docker.service guardian-restore.service", timeout=LIMIT)
    site.wait_restored()
    seconds, outcome, reason = time.monotonic() - begun, site.outcome(name), site.reason(name)
    yield Line(f"{name}: {outcome}", seconds, LIMIT, "s", reason)
    if cold:
        good = outcome == "cold" and reason.split(" takes ")[0] == cold[0].split(" takes ")[0]
        yield Line(f"{name}: not cold as foretold", not good, 0, "")
    else:
        after = site.machine.succeed(f"docker exec {name} cat /tmp/n").split()
        good = outcome == "resumed" and int(after[0]) >= int(before[0]) and after[1:] == before[1:]
        yield Line(f"{name}: not the same", not good, 0, "")
    site.machine.succeed(f"docker rm -f {name}", timeout=120)


def main() -> int:
    """Print the table."""
    lines = []
    with tempfile.TemporaryDirectory() as temporary, ContainerHost() as host:
        build = [str(_REPOSITORY / "packaging" / "build.sh"), temporary]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        site = Site(host)
        site.install(next(Path(temporary).glob("*.deb")))
        site.set_up_guardian(
            f"[checkpoint]\nparallel = {PARALLEL}\ncontainer-timeout = {LIMIT}\n"
            f"[restore]\ncontainer-timeout = {LIMIT}\n"
        )
        print(f"{'':44} {'value':>8} {'':4} {'bar':>8}   verdict")
        wanted = sys.argv[1:] or ["processes", "more", "files", "many"]
        parts = {
            "processes": single(site, "processes", _MANY_PROCESSES, "--pids-limit -1", PROCESSES),
            "more": single(
                site, "more", _MANY_PROCESSES, "--pids-limit -1", MORE_PROCESSES, foretold="of memory"
            ),
            "files": single(site, "files", _MANY_FILES, ""),
            "many": forty_five(site),
        }
        for name in wanted:
            for line in parts[name]:
                print(line, flush=True)
                lines.append(line)
    return 0 if all(line.kept for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
