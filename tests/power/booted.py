"""Cuts booted to the end: what guardian then says, and what the container knows."""

from __future__ import annotations

import contextlib
import dataclasses

from guardian.model.outcome import Outcome
from tests.host.site import Site
from tests.machines.errors import CommandFailed
from tests.power.facts import Recording
from tests.power.judge import Decision, Seen
from tests.power.recording import NAME, VOLUME, root, steps
from tests.power.served_host import ServedHost

_DOCKER_LIMIT = 60.0
_WITHOUT = "the host or dockerd went down without a checkpoint"
_REASONS = {
    Decision.COLD_WITHOUT: (_WITHOUT,),
    Decision.COLD_INCOMPLETE: (_WITHOUT, "its checkpoint was not complete when the host went down"),
    Decision.COLD_SPENT: (_WITHOUT, "its checkpoint may have run already and is never run twice"),
    Decision.COLD_STALE: (),
    Decision.COLD_STARTED: ("it was started since, without guardian",),
}


@dataclasses.dataclass(frozen=True)
class Booted:
    """What came of a boot: outcome and reason as guardian lists them, and what is wrong with that."""

    outcome: str
    reason: str
    problems: tuple[str, ...]


def boot(host: ServedHost, recording: Recording, seen: Seen) -> Booted:
    """Boot the disk as it is; it is used up afterwards."""
    host.start()
    try:
        site = Site(host)
        try:
            host.wait_for_docker(timeout=_DOCKER_LIMIT)
        except CommandFailed:
            said = host.succeed(
                "journalctl -b --no-pager -o cat -u docker.service -u containerd.service | tail -n 40"
            )
            return Booted("", "", (f"dockerd does not start: {said}",))
        site.wait_restored()
        last = site.list()[NAME]["last"] or {"outcome": "", "reason": ""}
        volume = root(host) / VOLUME
        begun = list(steps(volume))
        with contextlib.suppress(AssertionError):
            site.wait_for(lambda: list(steps(volume))[1][1] > begun[1][1] + 3, timeout=20)
        problems = [*_wrong(host, recording, seen, last["outcome"], last["reason"])]
        if list(steps(volume))[1][1] <= begun[1][1] + 3:
            problems.append("it does not count")
        return Booted(last["outcome"], last["reason"], tuple(problems))
    finally:
        host.kill()


def _wrong(host: ServedHost, recording: Recording, seen: Seen, outcome: str, reason: str) -> list[str]:
    problems = []
    volume = root(host) / VOLUME
    processes = {process for process, _ in steps(volume)}
    known = {image.process for image in recording.images.values()}
    wanted = Outcome.RESUMED if seen.decision is Decision.RESTORE else Outcome.COLD
    if outcome != wanted:
        problems.append(f"it should be {wanted}, and is {outcome}: {reason}")
    if wanted == Outcome.RESUMED and processes != {recording.images[seen.checkpoint].process}:
        problems.append("another process runs")
    if wanted == Outcome.COLD and processes & known:
        problems.append("the process of before runs")
    if wanted == Outcome.COLD and reason not in _REASONS[seen.decision]:
        problems.append(f"the reason is not true: {reason}")
    if (volume / "misfits").exists():
        problems.append((volume / "misfits").read_text().strip())
    held = host.succeed("ls /run/guardian/holds /run/guardian/tickets | grep -v : || true").split()
    if held:
        problems.append(f"left held: {held}")
    return problems
