"""What tests of export and import share."""

from __future__ import annotations

from pathlib import Path

from tests.host.site import Site

ARCHIVE = "/root/archive.tar.zst"


def exported(site: Site, name: str, *options: str) -> None:
    site.machine.succeed(f"rm -f {ARCHIVE}; guardianctl export {name} -o {ARCHIVE} {' '.join(options)}")


def fetched(site: Site, folder: Path) -> Path:
    """The archive on this computer, without its compression."""
    site.machine.succeed(f"zstd -dqf {ARCHIVE} -o /root/plain.tar")
    site.machine.copy_from("/root/plain.tar", folder / "plain.tar")
    return folder / "plain.tar"


def state_of(site: Site) -> str:
    return site.machine.succeed(
        "docker ps -aq --no-trunc; docker volume ls -q; docker network ls -q; docker images -q;"
        "find /var/lib/guardian/checkpoints -mindepth 1 | sort; ls /run/guardian/holds"
    )


def refused(site: Site, *options: str, file: str = ARCHIVE) -> str:
    """What an import that must not succeed says; it changes nothing."""
    before = state_of(site)
    told = site.machine.run(f"guardianctl import {file} {' '.join(options)}")
    assert told.status == 4, told
    assert "Traceback" not in told.stderr
    assert state_of(site) == before
    return told.stderr
