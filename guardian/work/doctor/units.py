"""Our units: whether the next shutdown and the next boot are served."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import systemd
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_NEEDED = {
    "guardian-worker": "nothing is saved when the host goes down, nothing is restored",
    "guardian-checkpoint": "nothing is saved when docker stops",
}
_WANTED = {
    "guardian-hold": "at the next boot dockerd starts what waits to be restored from zero",
    "guardian-fence": "peers of containers that are away hear a reset: their connections end",
}
_RESTORE = "guardian-restore"


def look(_host: Host) -> Iterator[Finding]:
    """Units that are not active, and units that would not be at the next boot."""
    docker = systemd.active_state("docker.service")
    for unit, why in (_NEEDED | _WANTED).items():
        state = systemd.active_state(f"{unit}.service")
        # Those that come and go with docker.service are down with it.
        if state not in ("active", "reloading") and (docker == "active" or unit == "guardian-fence"):
            yield Finding(
                "units",
                Severity.ERROR if unit in _NEEDED else Severity.WARNING,
                f"{unit}.service is {state}",
                why,
                f"systemctl start {unit}; systemctl status {unit} says why it is not",
            )
    if systemd.active_state(f"{_RESTORE}.service") == "failed":
        yield Finding(
            "units",
            Severity.WARNING,
            f"{_RESTORE}.service has failed",
            "containers may have been started cold by guardian-emergency.service",
            f"journalctl -u {_RESTORE} -u guardian-worker says why; guardianctl list says what became of them",
        )
    for unit in (*_NEEDED, *_WANTED, _RESTORE):
        enabled = systemd.shown(f"{unit}.service", "UnitFileState")["UnitFileState"]
        if enabled not in ("enabled", "static", "enabled-runtime"):
            yield Finding(
                "units",
                Severity.WARNING,
                f"{unit}.service is {enabled or 'not there'}",
                "it is not started at the next boot",
                f"systemctl enable {unit}",
            )
