"""The real runc: whether it is there and can hand CRIU what we ask for."""

from __future__ import annotations

from collections.abc import Iterator

from guardian.host import runc
from guardian.host.command import CommandFailed
from guardian.model.finding import Finding, Severity
from guardian.work.host import Host

_NEEDED = {"--tcp-established", "--ext-unix-sk", "--file-locks"}


def look(_host: Host) -> Iterator[Finding]:
    """The program and its options."""
    try:
        missing = _NEEDED - set(runc.dump_flags())
    except CommandFailed as error:
        yield Finding(
            "runc-program", Severity.ERROR, str(error), "no container can be started", "apt install runc"
        )
        return
    if missing:
        yield Finding(
            "runc-program",
            Severity.WARNING,
            f"{runc.binary()} ({runc.version()}) has no {', '.join(sorted(missing))}",
            "containers with connections, sockets or locks cannot be saved",
            "install the runc of the distribution or of Docker",
        )
