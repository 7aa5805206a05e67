"""A FUSE volume that another guarded container serves: said beforehand, never a hang; and CRIU's own configuration."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.site import Site
from tests.host.test_doctor import doctor
from tests.host.test_plan import by_name, forbidding, plan

_POWER = Path(__file__).resolve().parents[1] / "power"
_SHARED = "/srv/shared"
_SOON = 30.0


@pytest.fixture
def served(site: Site) -> Iterator[Site]:
    """`server` serves a FUSE volume to `reader`, which keeps a file of it open; both are guarded."""
    site.machine.succeed(
        f"mkdir -p {_SHARED}; mount --bind {_SHARED} {_SHARED}; mount --make-shared {_SHARED};"
        "test -e /dev/fuse || mknod -m 666 /dev/fuse c 10 229"
    )
    site.machine.copy_to(_POWER / "fuse.py", "/root/fuse.py")
    site.program(
        "server",
        f"fuse_volume {_SHARED}/volume",
        f"-v /root/fuse.py:/fuse.py:ro -v {_SHARED}:{_SHARED}:rshared --device /dev/fuse --cap-add SYS_ADMIN",
        "--security-opt apparmor=unconfined --restart always",
    )
    site.machine.wait_until_succeeds(f"cat {_SHARED}/volume/n")
    site.program(
        "reader",
        "fuse_reader /data/n",
        f"-v {_SHARED}/volume:/data --label guardian.depends-on=server --restart always",
    )
    _reads(site)
    yield site
    site.machine.succeed(
        f"docker rm -f reader server; while umount -l {_SHARED}/volume; do :; done; umount -l {_SHARED}"
    )


def _reads(site: Site) -> str:
    """Wait until the reader reads; returns its token."""
    site.machine.wait_until_succeeds("docker logs --tail 1 reader | grep -qE ' [0-9]{15}$'")
    return site.machine.succeed("docker logs --tail 1 reader").split()[0]


def test_a_volume_that_another_guarded_container_serves(served: Site) -> None:
    """The server is refused before anybody is frozen, and goes on; who uses it is saved and resumed."""
    told = by_name(plan(served, status=3))
    assert "/dev/fuse" in forbidding(told["server"])[0]
    assert forbidding(told["reader"]) == []
    notes = [item["what"] for item in told["reader"]["obstacles"]]
    assert any(
        "a FUSE file system is mounted in it" in note and "server serves one" in note for note in notes
    )

    token, begun = _reads(served), time.monotonic()
    pid = served.inspect("server", "{{.State.Pid}}")
    status, said = served.machine.execute("guardianctl checkpoint 2>&1", timeout=_SOON)
    assert (status, time.monotonic() - begun < _SOON) == (3, True), said
    assert "server: failed (it serves a FUSE file system" in said
    assert "reader: saved" in said
    assert served.inspect("server", "{{.State.Pid}}") == pid
    served.machine.succeed("guardianctl restore reader")
    assert (served.outcome("reader"), _reads(served)) == ("resumed", token)


def test_its_server_at_a_restart_of_docker(served: Site) -> None:
    """The server is stopped and starts cold; who uses it is resumed, or cold with a reason: nothing hangs."""
    token = _reads(served)
    served.restart_docker()
    assert served.outcome("server") == "cold"
    assert "it serves a FUSE file system" in served.reason("server")
    if served.outcome("reader") == "resumed":
        assert served.machine.succeed("docker logs --tail 1 reader").split()[0] == token
    else:
        assert (served.outcome("reader"), served.reason("reader") != "") == ("cold", True)
    assert served.machine.succeed("ls /run/guardian/holds /run/guardian/frozen").split() == [
        "/run/guardian/frozen:",
        "/run/guardian/holds:",
    ]


@pytest.mark.parametrize("file", ["runc.conf", "default.conf"])
def test_an_action_script_of_the_administrators(site: Site, file: str) -> None:
    """It would stand where ours does: refused, said by plan and doctor; cold with that reason on the way down."""
    before = site.redis("db")
    reason = f"/etc/criu/{file} has action-script"
    site.machine.succeed(f"mkdir -p /etc/criu; echo 'action-script /root/own' >/etc/criu/{file}")
    try:
        assert reason in forbidding(by_name(plan(site, status=1))["db"])[0]
        assert any(reason in what for what in doctor(site)[1]["criu-configuration"])
        assert reason in site.machine.fail("guardianctl checkpoint db 2>&1")
        assert site.seen_in("db") == before
        if file == "runc.conf":
            site.restart_docker()
            assert (site.outcome("db"), reason in site.reason("db")) == ("cold", True)
            before = site.seen_in("db")
    finally:
        site.machine.succeed(f"rm /etc/criu/{file}")
    site.machine.succeed("guardianctl checkpoint db && guardianctl restore db")
    assert site.seen_in("db") == before
