"""One race: begin, hold at the step, act as a user, let go on, and look whether everybody has what they wanted."""

from __future__ import annotations

import re
import threading
import time

from tests.faults import remains
from tests.faults.bench import POLICIES, Bench, Seen
from tests.faults.gate import Gate
from tests.faults.runner import RESUME, SAVE, SETTLED
from tests.faults.steps import STEPS, Trigger
from tests.races.acts import ACTS, End, Race

_REACHED_LIMIT = 30.0
_SETTLED_LIMIT = 90.0
_ACT_LIMIT = 60.0
_HOLD = 1.0
"""Seconds for the act to meet what stands at the step; most wait for it, and end only once it goes on."""


class Runner:
    """Races on one bench, one after the other."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._host = bench.host
        self.said = ""
        self._in_time = False

    def run(self, race: Race, number: int = 0) -> End:
        """Run one, in which the `number`th container to reach the step is acted upon; raises AssertionError."""
        before, there = self._bench.look(), remains.counts(self._bench)
        name = self._act(race, before, number)
        self._recover(race)
        end = self._end(race, name, before)
        self._look_at_others(name, before)
        self._repair(name, end)
        changed = remains.differences(there, remains.counts(self._bench))
        assert not changed, f"left over: {changed}"
        return end

    def _act(self, race: Race, before: dict[str, Seen], number: int) -> str:
        """Begin, act at the step; returns the name of who was acted upon."""
        step, trigger = STEPS[race.step], Trigger(race.trigger)
        asked = step.resume and trigger in RESUME
        if asked:
            self._host.succeed("guardianctl checkpoint")
        gate = Gate(self._host.store, step.wanted, number, old=asked)
        try:
            self._host.run((RESUME if asked else SAVE)[trigger], check=True)
            assert gate.reached(limit=_REACHED_LIMIT), "the step was not reached"
            struck = gate.checkpoint.partition("/")[0]
            name = next(name for name, seen in before.items() if seen.id == struck)
            command = ACTS[race.act].command.format(name=name, run=self._bench.command(name))
            told: list[str] = []
            acting = threading.Thread(
                target=lambda: told.append(str(self._host.execute(command, timeout=_ACT_LIMIT))), name="act"
            )
            acting.start()
            acting.join(_HOLD)
            self._in_time = bool(told)
            gate.open()
            acting.join(2 * _ACT_LIMIT)
            assert told, f"{command} hangs"
            self.said = told[0]
        finally:
            gate.open()
        return name

    def _recover(self, race: Race) -> None:
        self.settle()
        if race.trigger == Trigger.COMMAND.value and self._is_held():
            self._host.execute("guardianctl restore")
            self.settle()

    def _is_held(self) -> bool:
        return self._host.run("ls /run/guardian/holds | grep -q .").status == 0

    def settle(self) -> None:
        """Wait until nobody works on anything any more."""
        end = time.monotonic() + _SETTLED_LIMIT
        while self._host.run(SETTLED).status:
            told = "systemctl list-jobs; systemctl --failed; ls /run/guardian/*; ps ax | tail -n 30"
            assert time.monotonic() < end, f"not settled: {self._host.execute(told)[1]}"
            time.sleep(0.1)

    def _end(self, race: Race, name: str, before: dict[str, Seen]) -> End:
        """What has become of the one acted upon, now and after a restart of docker."""
        first = self._look_at(name, before[name], race)
        assert first in race.ends, f"{name} is {first.value}, act: {self.said}"
        if race.act == "rm and run" and first is End.STOPPED:
            assert POLICIES[name] == "on-failure", (
                f"{name} is down, and dockerd starts it whatever it ended of"
            )
        token = self._bench.witness(name).get("token")
        self._bench.site.restart_docker()
        if first in (End.REMOVED, End.STOPPED):
            second = self._look_at(name, before[name], race)
            # A dockerd that starts anew starts what was stopped, by itself, unless its policy is unless-stopped.
            stays = first is End.REMOVED or POLICIES[name] == "unless-stopped"
            said = f"{name} was {first.value}, and is {second.value} after a restart of docker"
            assert second is first or (not stays and second is End.COLD), said
        else:
            seen = self._bench.look()[name]
            said = f"{name} after a restart of docker: {seen}"
            assert (seen.running, seen.token, seen.outcome) == (True, token, "resumed"), said
        return first

    def _look_at(self, name: str, before: Seen, race: Race) -> End:
        command = f"docker inspect -f '{{{{.Id}}}} {{{{.State.Running}}}}' {name}"
        status, told = self._host.execute(command)
        if status:
            return End.REMOVED
        container_id, running = told.split()
        if running != "true":
            return End.STOPPED
        self._bench.site.wait_for(lambda: self._bench.witness(name).get("count", 0) > 0)
        seen = self._bench.look()[name]
        if container_id != before.id:
            saved = (
                race.trigger == Trigger.COMMAND.value or STEPS[race.step].resume or seen.outcome == "resumed"
            )
            assert saved or not self._in_time, f"{name}: it was run in the save, and is {seen}"
            return End.ANEW
        self._bench.site.wait_for(lambda: self._bench.witness(name).get("count", 0) != seen.count)
        if seen.token == before.token:
            said = seen.started_at == before.started_at or seen.outcome == "resumed"
            assert said, f"{name}: resumed, and said to be {seen.outcome!r}"
            return End.KEPT
        # A start of docker's own: of what was stopped, or a restart of what had been resumed, nothing of guardian's.
        own = race.act == "stop" or (
            race.act == "restart" and STEPS[race.step].resume and seen.outcome == "resumed"
        )
        if not own:
            assert seen.outcome == "cold", f"{name}: cold, and said to be {seen.outcome!r}"
            assert re.search(ACTS[race.act].reason, seen.reason), f"{name}: cold, {seen.reason!r}"
        return End.COLD

    def _look_at_others(self, name: str, before: dict[str, Seen]) -> None:
        others = self._bench.look([item for item in POLICIES if item != name])
        for other, seen in others.items():
            assert (seen.running, seen.token) == (True, before[other].token), f"{other}: {seen}"
            assert seen.policy == POLICIES[other], f"{other}: its policy is {seen.policy}"
            assert not seen.wrong, f"{other}: wrong answers"

    def _repair(self, name: str, end: End) -> None:
        """The bench as it was."""
        if end is End.REMOVED:
            self._host.succeed(self._bench.command(name))
        elif end is End.STOPPED:
            assert self._bench.site.inspect(name, "{{.HostConfig.RestartPolicy.Name}}") == POLICIES[name]
            self._host.succeed(f"docker start {name}")
        self._bench.site.wait_for(
            lambda: (
                self._host.run(f"docker inspect -f '{{{{.State.Running}}}}' {name} | grep -q true").status
                == 0
            )
        )
        self._host.run("guardianctl checkpoints --json >/dev/null")
        if end in (End.REMOVED, End.ANEW):
            self._bench.site.wait_for(lambda: self._bench.witness(name).get("count", 0) > 5)
