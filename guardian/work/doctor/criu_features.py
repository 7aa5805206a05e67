"""What CRIU finds in this kernel."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import criu_features
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_FEATURES = {
    "timens": "monotonic clocks of restored processes start anew after a reboot",
    "network_lock_nftables": "containers with --network host cannot be locked while they are saved",
}


def look(_host: Host) -> Iterator[Finding]:
    """`criu check`, and the features that we rely on."""
    if not criu_features.present():
        return  # said by criu-version
    wrong = criu_features.check()
    if wrong:
        yield Finding(
            "criu-features",
            Severity.WARNING,
            f"criu check: {wrong}",
            "containers that use it can be neither saved nor restored; the canary says whether any can",
            "criu check -v4 says more; most often it is the kernel's configuration",
        )
    for feature, why in _FEATURES.items():
        if not criu_features.has(feature):
            yield Finding(
                "criu-features",
                Severity.WARNING,
                f"CRIU has no {feature} here",
                why,
                f"criu check --feature {feature} -v4 says why",
            )
