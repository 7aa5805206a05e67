"""Every fault at every step of a move: one running copy of each container, never two, never none, its data whole.

The table of what became of each goes to dist/migrate-faults.md.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.lab import Lab, opened
from tests.host.site import Redis, Site
from tests.machines.commands import run
from tests.machines.recipes import known_suites
from tests.migrate.copies import OPTIONS, Copies, Seen, prepare, seen_on, wrong
from tests.migrate.faults import FAULTS, FILLER, STEPS, reached

NAMES = ("counter", "redis")
_TABLE = Path(__file__).resolve().parents[2] / "dist" / "migrate-faults.md"
_OUTCOMES: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module")
def lab(package: Path) -> Iterator[Lab]:
    """Two hosts for all cells; the table at the end."""
    with opened(package, (known_suites()[0], known_suites()[0])) as found:
        yield found
    _TABLE.parent.mkdir(exist_ok=True)
    _TABLE.write_text(table())


def table() -> str:
    """Steps down, faults across."""
    head = f"| step | {' | '.join(FAULTS)} |\n|---|{'---|' * len(FAULTS)}\n"
    rows = "".join(
        f"| {step} | {' | '.join(_OUTCOMES.get((step, fault), '-') for fault in FAULTS)} |\n"
        for step in STEPS
    )
    here = run(["git", "rev-parse", "--short", "HEAD"], timeout=10).stdout.strip()
    return f"Commit {here}, {time.strftime('%F')}.\n\n{head}{rows}"


@dataclasses.dataclass(frozen=True)
class Before:
    """What was so before the move."""

    redis: Redis
    counter: Seen


def _begin(lab: Lab) -> Before:
    lab.clean()
    prepare(lab)
    lab.one.run("counter", "python3 -u /counter.py", f"--restart always {OPTIONS}")
    before = lab.one.redis("redis", "--restart always -v kept:/kept", guarded=False)
    lab.one.machine.succeed("docker exec redis sh -c 'echo kept >/kept/f; echo layer >/root/f'; sync")
    lab.one.wait_for(lambda: _count(lab.one) > 20)
    counter = seen_on(lab.one)
    assert counter is not None
    return Before(before, counter)


def _count(site: Site) -> int:
    found = seen_on(site)
    return found.count if found is not None else 0


def _running(site: Site) -> set[str]:
    """By `inspect`: where dockerd could not store its state on a full disk, `docker ps` has the one before."""
    shown = "docker ps -aq | xargs -r docker inspect -f '{{if .State.Running}}{{.Name}}{{end}}'"
    return {name.removeprefix("/") for name in site.machine.succeed(shown).split()}


def _recover(lab: Lab) -> None:
    """What an administrator does: switch on what is off, make room, have the move finished."""
    for site in (lab.one, lab.two):
        if not site.machine.is_up:
            site.machine.start()
            site.machine.wait_for_docker()
            site.machine.succeed("systemctl unmask ssh.service; systemctl start ssh.service")
            site.wait_restored()
    lab.two.machine.succeed(f"rm -f {FILLER}")
    for site in (lab.one, lab.two):
        site.machine.wait_until_succeeds("guardianctl list")
    lab.one.machine.wait_until_succeeds("! pgrep -f '[g]uardianctl migrate'", timeout=180)
    lab.two.machine.wait_until_succeeds("! pgrep -f '[g]uardianctl receive'", timeout=180)
    lab.one.machine.wait_until_succeeds("guardianctl migrate --resolve two", timeout=180)


def _one_of_each(lab: Lab) -> Site:
    """All containers run on one of the hosts, and none on the other; returns which."""
    end = time.monotonic() + 60
    while True:
        one, two = _running(lab.one), _running(lab.two)
        if (one, two) in ((set(NAMES), set()), (set(), set(NAMES))):
            return lab.one if one else lab.two
        if time.monotonic() > end:
            print(lab.told())
            pytest.fail(f"one runs {one}, two runs {two}")
        time.sleep(0.2)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", STEPS)
def test_a_fault(lab: Lab, step: str, fault: str) -> None:
    before = _begin(lab)
    struck = FAULTS[fault]
    with Copies(lab).watched() as copies:
        with lab.one.machine.running("guardianctl migrate counter redis two >/root/said 2>&1"):
            assert reached(lab, step, limit=60), "the step was not reached"
            struck.strike(lab)
            _recover(lab)
        where = _one_of_each(lab)
    resumed = where.seen_in("redis") == before.redis
    # A host that loses its power loses what ran on it, as ever; nothing else may cost a container its memory.
    assert resumed or struck.host_dies == ("one" if where is lab.one else "two"), "it was started cold"
    problem = wrong(copies.seen, may_go_back=bool(struck.host_dies))
    assert not problem, problem
    _OUTCOMES[step, fault] = f"{'moved' if where is lab.two else 'goes on'}{'' if resumed else ', cold'}"
    _whole(where, before, resumed=resumed)
    if where is lab.one:
        lab.one.machine.succeed("guardianctl migrate counter redis two", timeout=180)
        assert _one_of_each(lab) is lab.two
        _whole(lab.two, before, resumed=resumed)
    lab.one.machine.succeed("! ls -d /var/lib/guardian/checkpoints/.arrivals/*/ 2>/dev/null")
    lab.two.machine.succeed("! ls -d /var/lib/guardian/checkpoints/.arrivals/*/ 2>/dev/null")
    assert lab.two.machine.succeed("ls /run/guardian/holds").strip() == ""
    assert lab.two.machine.succeed("docker ps -aq").count("\n") == len(NAMES)
    assert lab.two.inspect("redis", "{{.HostConfig.RestartPolicy.Name}}") == "always"


def _whole(site: Site, before: Before, *, resumed: bool) -> None:
    """The counter goes on from where it was, and its file with it; files of volume and layer are there."""
    seen = _count(site)
    site.wait_for(lambda: _count(site) > seen + 5)
    now = seen_on(site)
    assert now is not None
    if resumed:
        assert now.token == before.counter.token, "the counter was started cold"
        assert now.count > before.counter.count, "the counter went back"
    shown = site.machine.succeed("docker exec redis cat /kept/f /root/f").split()
    assert shown == ["kept", "layer"]
