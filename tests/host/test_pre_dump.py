"""Memory written ahead, on a kernel that cannot: left out, and said. In tests/vm is a kernel that can."""

from __future__ import annotations

import json

import pytest

from guardian.work.ahead import NO_TRACKING
from tests.host.archives import ARCHIVE, exported
from tests.host.site import Site

STORE = "/var/lib/guardian/checkpoints"
LABEL = "--label guardian.pre-dump=2"


@pytest.fixture(autouse=True)
def _a_kernel_without(site: Site) -> None:
    if site.machine.execute("criu check --feature mem_dirty_track")[0] == 0:
        pytest.skip("this kernel has soft-dirty tracking")


def _is_full(site: Site, container: str) -> bool:
    """Whether the newest images of the container stand for themselves."""
    images = f"$(ls -d {STORE}/{container}/*/img | tail -1)"
    return not site.machine.succeed(f"find {images} -name 'pre-*' -o -name parent").strip()


def test_a_checkpoint_by_hand(site: Site) -> None:
    before = site.redis("web", LABEL)
    said = site.machine.succeed("guardianctl checkpoint web")
    assert f"web: nothing is written ahead: {NO_TRACKING}\n" in said
    assert "web: saved in " in said
    assert _is_full(site, site.inspect("web", "{{.Id}}"))
    site.machine.succeed("guardianctl restore web")
    assert (site.outcome("web"), site.reason("web")) == ("resumed", "")
    assert site.seen_in("web") == before


def test_the_option_wins_over_the_label(site: Site) -> None:
    site.redis("web", LABEL)
    assert "ahead" not in site.machine.succeed("guardianctl snapshot web --pre-dump 0")
    site.redis("plain", guarded=False)
    said = site.machine.succeed("guardianctl snapshot plain --pre-dump 1")
    assert f"plain: nothing is written ahead: {NO_TRACKING}\n" in said
    assert "plain: saved as plain@1" in said
    status, said = site.machine.execute("guardianctl snapshot plain --pre-dump 4 2>&1")
    assert (status, "invalid choice" in said) == (2, True)


def test_the_way_down(site: Site) -> None:
    before = site.redis("web", LABEL)
    site.restart_docker()
    assert (site.outcome("web"), site.reason("web")) == ("resumed", "")
    assert site.seen_in("web") == before
    assert f"web: nothing is written ahead: {NO_TRACKING}" in site.machine.succeed(
        "journalctl -b --no-pager -u 'guardian-*'"
    )


def test_it_is_said_beforehand(site: Site) -> None:
    site.redis("web", LABEL)
    site.redis("odd", "--label guardian.pre-dump=many")
    status, told = site.machine.execute("guardianctl plan --json")
    found = {item["name"]: json.dumps(item) for item in json.loads(told)["containers"]}
    assert status == 0
    assert f"guardian.pre-dump: {NO_TRACKING}" in found["web"]
    assert "guardian.pre-dump: 'many' is not allowed, 0 is used" in found["odd"]
    assert NO_TRACKING not in found["odd"]


def test_an_archive_with_steps(site: Site) -> None:
    """Steps made by hand, which nothing refers to: checkpointctl reads the archive, an import has them again."""
    before = site.redis("web", LABEL)
    site.machine.succeed("guardianctl checkpoint web")
    folder = f"{STORE}/{site.inspect('web', '{{.Id}}')}/2*"
    site.machine.wait_until_succeeds(f"test -e {folder}/manifest.json")
    site.machine.succeed(
        f"cd {folder} && rm manifest.json && cd img && mkdir -m 700 pre-1 pre-2 && ln -s pre-2 parent &&"
        "ln -s ../pre-1 pre-2/parent && cp inventory.img pagemap-*.img pages-*.img pre-1 &&"
        "cp inventory.img pagemap-*.img pages-*.img pre-2"
    )
    exported(site, "web", "--compress none")
    assert "web" in site.machine.succeed(f"checkpointctl show {ARCHIVE}")
    assert "redis-server" in site.machine.succeed(f"checkpointctl inspect --ps-tree {ARCHIVE}")
    site.machine.succeed(f"docker rm -f web && guardianctl import {ARCHIVE}")
    folder = f"{STORE}/{site.inspect('web', '{{.Id}}')}/2*"
    assert site.machine.succeed(f"cd {folder}/img && readlink parent pre-2/parent").split() == [
        "pre-2",
        "../pre-1",
    ]
    assert not site.machine.succeed(f"find {folder}/img -perm /077 ! -type l").strip()
    site.machine.succeed("guardianctl restore web")
    assert site.outcome("web") == "resumed", site.reason("web")
    assert site.seen_in("web") == before
