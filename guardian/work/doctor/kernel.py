"""The kernel: whether this CRIU is known to fail on it."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import kernel, runc
from guardian.host.command import CommandFailed
from guardian.model.finding import Finding, Severity
from guardian.model.kernel_support import release, too_new
from guardian.work.host import Host


def look(_host: Host) -> Iterator[Finding]:
    """Kernels from 6.16 on need CRIU 4.2."""
    try:
        criu = runc.criu_version()
    except CommandFailed:
        return  # said by criu-version
    if too_new(release(kernel.release()), criu):
        yield Finding(
            "kernel",
            Severity.WARNING,
            f"kernel {kernel.release()} needs CRIU 4.2, this is {'.'.join(map(str, criu))}",
            "containers with TCP sockets cannot be saved (SO_PASSCRED: Can't get 1:16 opt)",
            "install CRIU 4.2 or newer, or boot a kernel before 6.16",
        )
