"""One cell: begin, hold at the step, strike, let go on, recover as an administrator would, look at everything."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import random
import re
import time
from pathlib import Path

from tests.faults import remains
from tests.faults.bench import POLICIES, PORTS, Bench, Seen, Watch
from tests.faults.gate import Gate
from tests.faults.host import STORE
from tests.faults.steps import DISK, FAULTS, MOUNTED_ANEW, STEPS, Cell, Floor, Strike, Trigger, floor
from tests.faults.strike import FILLER, strike
from tests.machines.errors import MachineError

_ERRORS = {Strike.ONE_EIO: errno.EIO, Strike.ONE_ENOSPC: errno.ENOSPC}
_BATTERY = 5.0
_PATIENCE = 3.0
_MAY_NOTICE = ("dockerd", "containerd", "")
"""Whose faults may cost connections: their own, of the ports, and what is no process."""
_REACHED_LIMIT = 30.0
_SETTLED_LIMIT = 90.0
_BUS = "busctl call org.dockerguardian.Guardian1 /org/dockerguardian/Guardian1 org.dockerguardian.Guardian1"

_BUS_IS_THERE = _BUS.replace("call", "get-property", 1) + " Version"

SAVE = {
    Trigger.COMMAND: "systemd-run --collect --unit=asked guardianctl checkpoint",
    Trigger.BUS: f"{_BUS} Checkpoint 'asa{{sv}}' 0 0",
    Trigger.RESTART: "systemctl reset-failed docker.service; systemctl restart --no-block docker.service",
    Trigger.REBOOT: "systemctl reboot",
}
RESUME = {
    Trigger.COMMAND: "systemd-run --collect --unit=asked guardianctl restore",
    Trigger.BUS: f"{_BUS} Restore 'asa{{sv}}' 0 0",
}
SETTLED = """
[ -z "$(systemctl list-jobs --no-legend)" ] || exit 1
for unit in docker.service guardian-worker.service containerd.service; do
    [ $(systemctl show -P ActiveState $unit) = active ] || exit 1
done
case $(systemctl show -P ActiveState guardian-restore.service) in activating|deactivating) exit 1 ;; esac
systemctl is-active --quiet asked.service && exit 1
for folder in tickets frozen dumps; do [ -z "$(ls /run/guardian/$folder)" ] || exit 1; done
pgrep -x 'runc|criu|criu.real|commit' >/dev/null && exit 1
timeout 20 docker info >/dev/null 2>&1 && guardianctl list >/dev/null 2>&1
"""
_DOWN = """
[ -z "$(systemctl list-jobs --no-legend)" ] || exit 1
case $(systemctl show -P ActiveState docker.service) in failed|inactive) exit 0 ;; *) exit 1 ;; esac
"""
_HELD = "ls /run/guardian/holds | grep -q ."


@dataclasses.dataclass(frozen=True)
class Found:
    """What a cell came to. `verdict` is empty where all is as it must be."""

    outcomes: dict[str, str]
    reasons: dict[str, str]
    noticed: dict[str, str]
    helped: list[str]
    phases: dict[str, float]
    seconds: float
    verdict: str


class Run:
    """One cell on a bench."""

    def __init__(self, bench: Bench, cell: Cell, seed: int) -> None:
        self._bench = bench
        self._host = bench.host
        self._cell = cell
        self._step = STEPS[cell.step]
        self._strikes = FAULTS[cell.fault].strikes
        self._trigger = Trigger(cell.trigger)
        self._number = random.Random(f"{seed} {cell}").randrange(len(POLICIES))
        self._helped: list[str] = []
        self._outcomes: dict[str, str] = {}
        self._noticed: dict[str, str] = {}
        self._after: dict[str, Seen] = {}
        self._phases: dict[str, float] = {}
        self._struck = ""
        self._ids: list[str] = []
        self._before: set[Path] = set()
        self._begun = time.monotonic()

    def run(self) -> Found:
        """Go through it; whatever goes wrong is the verdict."""
        verdict = ""
        try:
            self._run()
        except (AssertionError, MachineError, OSError, KeyError) as error:
            verdict = f"{type(error).__name__}: {error}"
        reasons = {name: seen.reason for name, seen in self._after.items() if seen.reason}
        seconds = round(time.monotonic() - self._begun, 1)
        return Found(self._outcomes, reasons, self._noticed, self._helped, self._phases, seconds, verdict)

    def _past(self, phase: str) -> None:
        """A phase is over."""
        self._phases[phase] = round(time.monotonic() - self._begun - sum(self._phases.values()), 1)

    def _run(self) -> None:
        self._wake_the_bus_face()
        before, there = self._bench.look(), remains.counts(self._bench)
        self._ids = [seen.id for seen in before.values()]
        with Watch(self._bench, crash=self._strikes in (Strike.CRASH, Strike.UPS)).running() as watch:
            self._strike_at_the_step()
            self._past("struck")
            self._recover()
            self._past("recovered")
            self._after = self._bench.look()
            for name in POLICIES:
                self._judge(name, before[name], self._after[name])
            self._wake_the_bus_face()
            changed = remains.differences(there, remains.counts(self._bench))
            assert not changed, f"left over: {changed}"
            self._listen()
        self._past("looked")
        assert not watch.wrong, "; ".join(watch.wrong[:3])
        self._reboot_again()
        self._past("rebooted")

    def _wake_the_bus_face(self) -> None:
        """It starts when it is asked, and has namespaces of its own."""
        if self._trigger is Trigger.BUS:
            self._host.succeed(_BUS_IS_THERE)

    def _strike_at_the_step(self) -> None:
        asked = self._step.resume and self._trigger in RESUME
        if asked:
            self._host.succeed("guardianctl checkpoint")
        commands = RESUME if asked else SAVE
        before = self._past_it()
        gate = Gate(self._host.store, self._step.wanted, self._number, old=asked)
        try:
            self._host.run(commands[self._trigger], check=self._trigger is not Trigger.REBOOT)
            assert gate.reached(limit=_REACHED_LIMIT), "the step was not reached"
            self._struck = gate.checkpoint.partition("/")[0]
            self._before = self._past_it() - before
            strike(self._bench, self._cell, gate.checkpoint)
            if self._may_be_past():  # somebody may have been at it that very moment
                with contextlib.suppress(OSError):
                    self._before |= self._past_it() - before
            gate.open(error=_ERRORS.get(self._strikes, 0))
            if self._strikes is Strike.UPS:
                self._end_of_battery()
        finally:
            gate.open()

    def _may_be_past(self) -> bool:
        """Whether the host goes on, and a member that is further than the one that is held may be cold for it."""
        return self._strikes in DISK or FAULTS[self._cell.fault].process == "containerd"

    def _past_it(self) -> set[Path]:
        """The ledgers' files that say of a container that it is saved, or, where the power fails, that it is back."""
        name = "verdict" if self._strikes in DISK else "spent"
        # By the names of containers: what is erased meanwhile has another one.
        folders = [self._host.store / container_id for container_id in self._ids]
        found = {path for folder in folders for path in folder.glob(f"*/ledger/{name}")}
        return {path for path in found if name == "spent" or _commits(path)}

    def _end_of_battery(self) -> None:
        end = time.monotonic() + _BATTERY
        while self._host.is_up and time.monotonic() < end:
            time.sleep(0.02)
        if self._host.is_up:
            self._host.crash()

    def _recover(self) -> None:
        """What an administrator does: switch on what is off, ask for what was asked for, wait."""
        if self._trigger is Trigger.REBOOT and self._host.is_up:
            self._host.wait_for_shutdown(timeout=_SETTLED_LIMIT)
        if not self._host.is_up:
            self._host.start()
        if self._strikes is Strike.STOP and self._trigger is not Trigger.REBOOT:
            time.sleep(_PATIENCE)
            self._helped.append("systemctl restart docker")
            self._host.execute("systemctl restart docker", timeout=_SETTLED_LIMIT)
        if self._strikes is Strike.BROKEN:
            time.sleep(_PATIENCE)  # what cannot be read stays held until it can be
        else:
            self._settle()
        self._host.succeed(f"rm -f /{STORE}/{FILLER} || true")
        if self._strikes in MOUNTED_ANEW:
            self._helped.append("reboot")
            self._host.reboot()
            self._settle()
        if self._trigger in (Trigger.COMMAND, Trigger.BUS) and self._host.run(_HELD).status == 0:
            self._host.execute("guardianctl restore")
            self._settle()
        end = time.monotonic() + 30
        while not all(seen.running for seen in self._bench.look().values()):
            assert time.monotonic() < end, f"down: {self._bench.look()}"
            time.sleep(0.2)

    def _settle(self) -> None:
        end = time.monotonic() + _SETTLED_LIMIT
        while self._host.run(SETTLED).status:
            if self._host.run(_DOWN).status == 0:
                self._helped.append("systemctl start docker")
                self._host.execute(
                    "systemctl reset-failed docker.service docker.socket; systemctl start docker"
                )
            assert time.monotonic() < end, self._told()
            time.sleep(0.1)

    def _told(self) -> str:
        command = "systemctl list-jobs; systemctl --failed; ls /run/guardian/*; ps ax | tail -n 30"
        return f"not settled: {self._host.execute(command)[1]}"

    def _judge(self, name: str, before: Seen, after: Seen) -> None:
        """What became of one container, whether that is said truly, and whether it may be."""
        assert after.policy == POLICIES[name], f"{name}: its restart policy is {after.policy}"
        self._bench.site.wait_for(lambda: int(self._bench.witness(name).get("count", 0)) > after.count)
        kept = after.token == before.token
        ran_on = kept and after.started_at == before.started_at
        # When the power failed it ran again, as any other container; when the disk failed it was saved already; when
        # containerd ended it had been let run (decision 20).
        was_past = (self._strikes is Strike.CRASH or self._may_be_past()) and any(
            path.parents[2].name == after.id for path in self._before
        )
        wanted = Floor.SAID if was_past else floor(self._cell)
        self._outcomes[name] = "ran on" if ran_on else "resumed" if kept else "cold"
        if not kept and wanted is Floor.GRACEFUL:
            assert before.token in self._bench.said_good_bye(name), f"{name}: killed"
        if not kept:
            assert after.outcome == "cold", f"{name}: cold, and said to be {after.outcome!r}"
            pattern = FAULTS[self._cell.fault].reason
            assert pattern, f"{name}: cold, {after.reason!r}"
            assert re.search(pattern, after.reason), f"{name}: cold, {after.reason!r}"
        elif not ran_on:
            assert after.outcome == "resumed", f"{name}: resumed, and said to be {after.outcome!r}"
        if wanted is Floor.ALIVE:
            assert after.resets == before.resets, f"{name}: its connection to its peer was reset"
        may_be_cold = wanted in (Floor.SAID, Floor.GRACEFUL)
        assert kept or may_be_cold, f"{name}: cold ({after.reason}), and should be {wanted.value}"
        gone = [
            line for line in self._host.succeed(f"docker diff {name}").splitlines() if line.startswith("D ")
        ]
        assert not gone, f"{name}: gone from its root: {gone}"
        assert not after.wrong, f"{name}: wrong answers from its peer"
        if wanted is Floor.ALIVE and after.id == self._struck and self._trigger is Trigger.COMMAND:
            assert ran_on, f"{name}: resumed, and should have run on"

    def _listen(self) -> None:
        """What the clients outside have noticed; who has gets a new one."""
        self._noticed = {name: said for name in PORTS if (said := self._bench.unnoticed(name))}
        wanted = floor(self._cell)
        if wanted is Floor.ALIVE:
            assert not self._noticed, f"clients noticed: {self._noticed}"
        for name in self._noticed:
            may = self._outcomes[name] == "cold" or FAULTS[self._cell.fault].process in _MAY_NOTICE
            assert may, f"the client of {name} noticed: {self._noticed[name]}"
        if self._noticed:
            self._bench.connect()

    def _reboot_again(self) -> None:
        """A second reboot resumes all of them, unnoticed."""
        before = self._bench.look()
        self._host.reboot()
        self._bench.site.wait_restored()
        after = self._bench.look()
        for name, seen in after.items():
            assert seen.token == before[name].token, f"{name}: cold at the second reboot: {seen.reason}"
            assert seen.outcome == "resumed", f"{name}: {seen.outcome} at the second reboot: {seen.reason}"
        noticed = {name: said for name in PORTS if (said := self._bench.unnoticed(name))}
        assert not noticed, f"clients noticed the second reboot: {noticed}"


def _commits(verdict: Path) -> bool:
    try:
        return verdict.read_text().startswith("commit")
    except FileNotFoundError:
        return False  # an older checkpoint, which retention has just removed
