"""All checks, in the order in which a person would mend things."""

from __future__ import annotations

import types
from collections.abc import Sequence

from guardian.work.doctor import (
    apparmor,
    canary,
    capabilities,
    cgroups,
    clock,
    conntrack,
    criu_configuration,
    criu_features,
    criu_version,
    disk,
    drop_in,
    encryption,
    engine,
    front,
    kernel,
    live_restore,
    nftables,
    permissions,
    runc_program,
    runtimes,
    seccomp,
    selinux,
    units,
)

CHECKS: Sequence[types.ModuleType] = (
    units,
    front,
    drop_in,
    kernel,
    cgroups,
    criu_version,
    criu_configuration,
    criu_features,
    runc_program,
    engine,
    runtimes,
    live_restore,
    nftables,
    conntrack,
    apparmor,
    selinux,
    capabilities,
    seccomp,
    disk,
    encryption,
    permissions,
    clock,
    canary,
)
