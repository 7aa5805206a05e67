"""Mounts that strike everybody: each container goes on with every file it had open, wherever it lies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.host.site import Site

KINDS = {
    "init": ("--init", "/tmp"),
    "layer": ("", "/var/tmp"),
    "read-only root": ("--read-only --tmpfs /tmp", "/tmp"),
    "tmpfs with options": (
        "--mount type=tmpfs,destination=/scratch,tmpfs-size=1m,tmpfs-mode=1777",
        "/scratch",
    ),
    "/dev/shm": ("--shm-size 2m", "/dev/shm"),
    "named volume": ("-v named:/data", "/data"),
    "anonymous volume": ("-v /data", "/data"),
    "volume below a volume": ("-v one:/data -v two:/data/below", "/data /data/below"),
    "bind of a folder": ("-v /srv/folder:/data", "/data"),
    "bind of a symbolic link": ("-v /srv/link:/data", "/data"),
    "slave bind": ("-v /srv/second:/data:rslave", "/data"),
    "read-only binds beside": ("-v /etc:/host-etc:ro -v /srv/third:/data", "/data"),
    "bind of a listening socket": ("-v /run/docker.sock:/docker.sock", "/tmp"),
    "from another container": ("--volumes-from owner", "/owned"),
    "ipc none": ("--ipc none", "/tmp"),
    "nested tmpfs": ("-v nested:/data --tmpfs /data/below", "/data /data/below"),
}


def goes_on(site: Site, name: str) -> None:
    """Its log has something new in it, by the process that runs now."""
    before = last(site, name)
    site.wait_for(lambda: last(site, name) != before)


def last(site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.machine.succeed(f"docker logs --tail 1 {name}"))
    return found


def test_open_files_everywhere(site: Site) -> None:
    machine = site.machine
    machine.succeed("mkdir -p /srv/folder /srv/second /srv/third /srv/target && ln -sfn target /srv/link")
    site.run("owner", "sleep infinity", "-v /owned")
    names = {kind: f"files{number}" for number, kind in enumerate(KINDS)}
    for kind, (options, folders) in KINDS.items():
        site.program(names[kind], f"files {folders}", options)
    for name in names.values():
        machine.wait_until_succeeds(f"docker logs {name} | grep -q .")
    for way in (Site.restart_docker, Site.reboot):
        before = {kind: last(site, name) for kind, name in names.items()}
        way(site)
        found = {}
        for kind, name in names.items():
            goes_on(site, name)
            now = last(site, name)
            found[kind] = (site.outcome(name), site.reason(name), now["wrong"], now["token"])
            assert now["n"] > before[kind]["n"]
        assert found == {kind: ("resumed", "", [], before[kind]["token"]) for kind in KINDS}


def test_a_file_changed_in_between(site: Site) -> None:
    """CRIU compares the size of what was open: the container starts cold and says which file it was."""
    site.machine.succeed("mkdir -p /srv/changed && echo one >/srv/changed/file")
    site.run(
        "reader",
        "python3 -c 'import time; f = open(\"/data/file\"); time.sleep(1e6)'",
        "-v /srv/changed:/data",
    )
    site.machine.succeed("guardianctl checkpoint reader; echo longer than before >/srv/changed/file")
    site.machine.execute("guardianctl restore reader")
    assert site.outcome("reader") == "cold"
    assert "data/file" in site.reason("reader")
    assert site.inspect("reader", "{{.State.Running}}") == "true"


@pytest.mark.parametrize("mode", ["shareable", "host"])
def test_ipc_modes_that_cannot_be_saved_are_refused_beforehand(site: Site, mode: str) -> None:
    site.run("sharing", "sleep infinity", f"--ipc {mode}")
    told = site.list()["sharing"]
    assert told["savable"] is False
    assert f"--ipc {mode}" in told["reasons"][0]
