"""Every target of the fast campaign, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.fast import face_targets, front_targets, host_targets, plain_targets, proc_targets
from tests.fuzz.fast.target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        *plain_targets.TARGETS,
        *host_targets.TARGETS,
        *proc_targets.TARGETS,
        *face_targets.TARGETS,
        *front_targets.TARGETS,
    )
}
