"""AppArmor: containers come back under their profiles, and CRIU must not stand under one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from guardian.host import kernel
from guardian.model.finding import Finding, Severity
from guardian.work.doctor.runners import runners
from guardian.work.host import Host

_FREE = "unconfined"


def look(_host: Host) -> Iterator[Finding]:
    """The program that loads profiles, and the profiles of those below which CRIU runs."""
    if not kernel.apparmor():
        return
    if shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin") is None:
        yield Finding(
            "apparmor",
            Severity.WARNING,
            "apparmor_parser is not there",
            "dockerd cannot load docker-default after a reboot: containers under it cannot be restored",
            "apt install apparmor",
        )
    for pid, name in runners().items():
        label = kernel.label(pid)
        if label and not label.startswith(_FREE):
            yield Finding(
                "apparmor",
                Severity.WARNING,
                f"{name} (pid {pid}) is under the profile {label}",
                "CRIU runs below it and may be refused what it needs",
                "see audit messages in the journal; the canary says whether it works",
            )
