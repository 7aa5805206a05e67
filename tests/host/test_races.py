"""What users do at the worst moment, two guardianctl at once; dumps, restores, a worker that hang: all at a held step.

`make test-races` is the whole table of acts and steps.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import PORTS, Bench, opened
from tests.faults.gate import Gate, image_is_opened, mark_is_there
from tests.faults.host import processes
from tests.faults.steps import STEPS
from tests.faults.strike import victims
from tests.machines.recipes import known_suites
from tests.races.acts import Race
from tests.races.runner import Runner

_LIMIT = 30.0
_OWN = "/etc/guardian/guardian.toml"
_WATCHDOG = "/run/systemd/system/guardian-worker.service.d/watchdog.conf"
_HUNG_DUMP = image_is_opened(r"pages-\d+\.img", "locked")
_HUNG_RESTORE = image_is_opened(r"pagemap-\d+\.img", "restoring")


@pytest.fixture(scope="module")
def shared_bench(package: Path) -> Iterator[Bench]:
    """One for all tests here."""
    with opened(os.environ.get("HOST") or known_suites()[0], package) as made:
        yield made


@pytest.fixture
def bench(shared_bench: Bench, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The same, whose journal is shown when the test fails, and that has guardian's own settings again afterwards."""
    yield shared_bench
    report = getattr(request.node, "report_of_call", None)
    if report is not None and report.failed:
        print(shared_bench.site.told())
    shared_bench.host.succeed(f"! test -e {_OWN} || {{ rm {_OWN}; systemctl restart guardian-worker; }}")
    shared_bench.host.wait_until_succeeds("guardianctl list")


def _ask(bench: Bench, command: str) -> None:
    bench.host.succeed(f"systemd-run --collect --unit=asked guardianctl {command}")


def _set_up(bench: Bench, text: str) -> None:
    """Settings until the test's end."""
    bench.host.write(_OWN, text)
    bench.host.succeed("systemctl restart guardian-worker")
    bench.host.wait_until_succeeds("guardianctl list")


def _kept(bench: Bench, before: dict[str, str]) -> None:
    """Everybody is up with the memory of before, and nothing is held."""
    Runner(bench).settle()
    if bench.host.run("ls /run/guardian/holds | grep -q .").status == 0:
        bench.host.succeed("guardianctl restore")
    seen = bench.look()
    assert {name: (item.running, item.token) for name, item in seen.items()} == {
        name: (True, token) for name, token in before.items()
    }
    assert bench.host.succeed(
        "ls /run/guardian/holds /run/guardian/frozen /run/guardian/tickets"
    ).split() == [f"/run/guardian/{name}:" for name in ("frozen", "holds", "tickets")]


def _tokens(bench: Bench) -> dict[str, str]:
    return {name: seen.token for name, seen in bench.look().items()}


@pytest.mark.parametrize(
    "race",
    [
        Race("imaging", "rm -f", "restart"),
        Race("durable", "stop", "command"),
        Race("held", "rm and run", "command"),
        Race("held", "restart", "command"),
        Race("running", "restart", "restart"),
        Race("locked", "restart", "restart"),
        Race("durable", "stop", "restart"),
        Race("imaging", "rm and run", "restart"),
    ],
    ids=str,
)
def test_the_user_has_what_they_wanted(bench: Bench, race: Race) -> None:
    """And the others are resumed, and so is everybody at a second restart of docker."""
    Runner(bench).run(race)


@pytest.mark.parametrize(
    ("first", "step", "second"),
    [
        ("checkpoint", "locked", "checkpoint"),
        ("restore", "restoring", "restore"),
        ("snapshot", "imaging", "checkpoint"),
    ],
)
def test_two_guardianctl_at_once(bench: Bench, first: str, step: str, second: str) -> None:
    """The second is refused at once and says why; the first comes to its end."""
    before = _tokens(bench)
    if first == "restore":
        bench.host.succeed("guardianctl checkpoint")
    gate = Gate(bench.host.store, STEPS[step].wanted, 0, old=first == "restore")
    try:
        _ask(bench, first)
        assert gate.reached(limit=_LIMIT)
        status, told = bench.host.execute(f"guardianctl {second} 2>&1", timeout=_LIMIT)
    finally:
        gate.open()
    assert (status, "is being worked on" in told) == (4, True), told
    _kept(bench, before)


def test_docker_is_restarted_in_the_middle_of_a_save(bench: Bench) -> None:
    before = _tokens(bench)
    gate = Gate(bench.host.store, mark_is_there("dumped"), 0)
    try:
        _ask(bench, "checkpoint")
        assert gate.reached(limit=_LIMIT)
        bench.host.succeed(
            "systemctl reset-failed docker.service; systemctl restart --no-block docker.service"
        )
        bench.site.wait_for(
            lambda: bench.host.run("systemctl is-active guardian-checkpoint.service").status != 0
        )
    finally:
        gate.open()
    _kept(bench, before)


def test_a_shutdown_before_the_resume_of_the_boot_has_ended(bench: Bench) -> None:
    """The member that stands at its gate has not run, and is resumed at the next boot."""
    before = _tokens(bench)
    gate = Gate(bench.host.store, mark_is_there("restoring"), 0)
    try:
        bench.host.succeed(
            "systemctl reset-failed docker.service; systemctl restart --no-block docker.service"
        )
        assert gate.reached(limit=_LIMIT)
        bench.host.run("systemctl reboot")
        time.sleep(0.5)  # the shutdown meets what stands; there is nothing to be awaited
    finally:
        gate.open()
    bench.host.wait_for_shutdown()
    bench.host.start()
    bench.site.wait_restored()
    bench.connect()
    _kept(bench, before)


def test_criu_killed_in_the_middle_of_a_dump(bench: Bench) -> None:
    """While its processes stand by ptrace, sockets in repair mode: it ran on, nobody noticed, the others are saved."""
    before = bench.look()
    gate = Gate(bench.host.store, STEPS["imaging"].wanted, 0)
    try:
        _ask(bench, "checkpoint")
        assert gate.reached(limit=_LIMIT)
        killed = victims(bench, "criu", gate.checkpoint)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
    finally:
        gate.open()
    assert killed
    Runner(bench).settle()
    name = next(name for name, seen in before.items() if gate.checkpoint.startswith(seen.id))
    assert bench.look([name])[name].started_at == before[name].started_at
    _kept(bench, {name: seen.token for name, seen in before.items()})
    assert {item: bench.unnoticed(item) for item in PORTS} == dict.fromkeys(PORTS, "")
    assert bench.look()["app"].resets == before["app"].resets
    assert processes(bench.host, "guardian-tracer") == []


@pytest.mark.parametrize("way", ["checkpoint", "restart"])
def test_a_dump_that_hangs(bench: Bench, way: str) -> None:
    """Asked for, it goes on, unnoticed; on the way down it is stopped gracefully. The others are saved in time."""
    before = bench.look()
    _set_up(bench, '[checkpoint]\ncontainer-timeout = "3s"\n')
    gate = Gate(bench.host.store, _HUNG_DUMP, 0, name="criu")
    begun = time.monotonic()
    try:
        if way == "checkpoint":
            _ask(bench, "checkpoint")
        else:
            bench.host.succeed(
                "systemctl reset-failed docker.service; systemctl restart --no-block docker.service"
            )
        assert gate.reached(limit=_LIMIT)
        name = next(name for name, seen in before.items() if gate.checkpoint.startswith(seen.id))
        Runner(bench).settle()
        took = time.monotonic() - begun
    finally:
        gate.open()
    assert took < 3 + 20
    if way == "checkpoint":
        assert bench.look([name])[name].started_at == before[name].started_at
        assert "the dump took longer than 3 s" in bench.site.told()
        _kept(bench, {name: seen.token for name, seen in before.items()})
        return
    bench.site.wait_restored()
    assert (bench.site.outcome(name), bench.site.reason(name)) == ("cold", "the dump took longer than 3 s")
    assert before[name].token in bench.said_good_bye(name)
    others = [item for item in before if item != name]
    assert {item: seen.token for item, seen in bench.look(others).items()} == {
        item: before[item].token for item in others
    }
    _kept(bench, _tokens(bench))
    bench.connect()


def test_a_restore_that_hangs(bench: Bench) -> None:
    """It is ended, tried once more, and started cold; the others are resumed."""
    before = bench.look()
    _set_up(bench, '[restore]\ncontainer-timeout = "3s"\n')
    bench.host.succeed("guardianctl checkpoint")
    gate = Gate(bench.host.store, _HUNG_RESTORE, 0, old=True, name="criu")
    try:
        _ask(bench, "restore")
        assert gate.reached(limit=_LIMIT)
        name = next(name for name, seen in before.items() if gate.checkpoint.startswith(seen.id))
        Runner(bench).settle()
    finally:
        gate.open()
    assert bench.site.outcome(name) == "cold"
    assert "longer than 3 s" in bench.site.reason(name)
    others = [item for item in before if item != name]
    assert {item: seen.token for item, seen in bench.look(others).items()} == {
        item: before[item].token for item in others
    }
    _kept(bench, _tokens(bench))
    bench.connect()


@pytest.fixture
def watched(bench: Bench) -> Iterator[Bench]:
    """Its worker has 4 seconds to show that it lives, not 60."""
    bench.host.succeed(f"mkdir -p $(dirname {_WATCHDOG})")
    bench.host.write(_WATCHDOG, "[Service]\nWatchdogSec=4\n")
    bench.host.succeed("systemctl daemon-reload; systemctl restart guardian-worker")
    bench.host.wait_until_succeeds("guardianctl list")
    yield bench
    bench.host.succeed(f"rm -f {_WATCHDOG}; systemctl daemon-reload; systemctl restart guardian-worker")


@pytest.mark.parametrize(
    ("way", "step"), [("stop", "imaging"), ("reboot", "dumped"), ("restart", "restoring")]
)
def test_a_worker_that_hangs(watched: Bench, way: str, step: str) -> None:
    """It is killed and the next one is asked: docker's stop and start end soon, and everybody is resumed."""
    before, host = _tokens(watched), watched.host
    gate = Gate(host.store, STEPS[step].wanted, 0)
    begun = time.monotonic()
    try:
        host.succeed("systemctl reset-failed docker.service")
        host.run("systemctl reboot" if way == "reboot" else f"systemctl {way} --no-block docker.service")
        assert gate.reached(limit=_LIMIT)
        (worker,) = victims(watched, "worker", "")
        os.kill(worker, signal.SIGSTOP)
    finally:
        gate.open()
    if way == "reboot":
        host.wait_for_shutdown()
        host.start()
    else:
        host.wait_until_succeeds('[ -z "$(systemctl list-jobs --no-legend)" ]', timeout=60)
    if way == "stop":
        host.succeed("systemctl start docker.service", timeout=60)
    watched.site.wait_restored()
    assert time.monotonic() - begun < 60
    assert {watched.site.outcome(name) for name in before} == {"resumed"}
    if way == "reboot":
        watched.connect()
    _kept(watched, before)
    if way == "restart":
        pid = "systemctl show -P MainPID guardian-worker"
        told = host.succeed(f"{pid}; sleep 5; {pid}").split()
        assert told[0] == told[1] != "0", "one that works is killed as well"
