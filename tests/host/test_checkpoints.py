"""Checkpoints that one can name: taken, listed, verified, removed, and kept no longer than the configuration says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.host.site import Site

SLEEP = "sleep infinity"


def listed(site: Site, *names: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        site.machine.succeed(f"guardianctl checkpoints --json {' '.join(names)}")
    )
    return found


def verdict(site: Site, name: str) -> tuple[str, str]:
    """What `verify` says of one checkpoint."""
    found = json.loads(site.machine.execute(f"guardianctl verify --json {name}")[1])
    return found[0]["verdict"], found[0]["wrong"]


def hashed(site: Site, name: str) -> bool:
    return bool(listed(site, name)[-1]["hashed"])


def test_snapshots_are_numbered_and_listed(site: Site) -> None:
    before = site.redis("web")
    pid = site.inspect("web", "{{.State.Pid}}")
    told = site.machine.succeed("guardianctl snapshot web --note 'before the upgrade'")
    assert told.startswith("web: saved as web@1, frozen for 0.")
    site.machine.succeed("guardianctl snapshot web")
    first, second = listed(site, "web")
    assert (first["name"], second["name"]) == ("web@1", "web@2")
    assert (first["kind"], first["state"], first["meaning"]) == ("snapshot", "done", "complete")
    assert first["note"] == "before the upgrade"
    assert first["size"] > 1 << 20
    assert "web@1" in site.machine.succeed("guardianctl checkpoints")
    assert site.inspect("web", "{{.State.Pid}}") == pid
    assert site.seen_in("web") == before
    site.machine.succeed(f"guardianctl remove web@2 {first['id'][:19]}")
    assert listed(site) == []
    site.machine.succeed("guardianctl snapshot web")
    assert [item["name"] for item in listed(site)] == ["web@3"], "a number is never used twice"


def test_a_container_that_is_not_guarded_can_be_snapshotted(site: Site) -> None:
    site.run("plain", SLEEP, guarded=False)
    site.machine.succeed("guardianctl snapshot plain")
    assert [item["name"] for item in listed(site)] == ["plain@1"]
    site.restart_docker()
    assert site.list() == {}


def test_a_snapshot_is_not_restored_and_what_waits_is_not_removed(site: Site) -> None:
    before = site.redis("web")
    site.machine.succeed("guardianctl snapshot web && guardianctl checkpoint web")
    suspended = listed(site, "web")[-1]
    assert (suspended["kind"], suspended["meaning"]) == ("suspend", "waits to be restored")
    status, told = site.machine.execute("guardianctl remove web@2 2>&1")
    assert (status, "waits to be restored" in told) == (4, True)
    site.machine.succeed("guardianctl restore web")
    assert site.seen_in("web") == before
    site.machine.succeed("guardianctl remove web@1 web@2")


@pytest.mark.parametrize("name", ["nobody", "web@9", "web@x", "'web\x1b[31m'"])
def test_names_of_nothing(site: Site, name: str) -> None:
    site.run("web", SLEEP)
    for verb in ("remove", "verify"):
        status, told = site.machine.execute(f"guardianctl {verb} {name} 2>&1")
        assert status == 4
        assert "there is no checkpoint" in told
        assert "\x1b" not in told


def test_verify_says_what_is_wrong_first(site: Site) -> None:
    site.redis("web")
    site.machine.succeed("guardianctl snapshot web")
    site.wait_for(lambda: hashed(site, "web"))
    assert verdict(site, "web") == ("good", "")
    folder = "/var/lib/guardian/store/*/*"
    site.machine.succeed(f"cd {folder} && mkdir /root/good && cp -a . /root/good")
    again = f"cd {folder} && rm -r ./* && cp -a /root/good/. ."
    for harm, what in (
        (
            "dd if=/dev/urandom of=img/pages-1.img bs=1 count=8 seek=9000 conv=notrunc",
            "pages-1.img has changed",
        ),
        ("truncate -s -4096 img/pages-1.img", "pages-1.img is cut off"),
        ("rm img/core-1.img", "core-1.img cannot be read"),
        ("cp img/mm-1.img img/core-1.img", "core-1.img has the wrong magic number"),
        ("rm img/seccomp.img", "seccomp.img is missing"),
        ("touch img/more.img", "more.img was added"),
        ("sed -i s/guardian.enable/guardian.unable/ record.json", "record.json has changed"),
        ("ln -sf /etc/passwd img/mm-1.img", "mm-1.img cannot be read"),
        ("echo '{' >manifest.json", "the manifest cannot be read"),
        ("rm -r img", "it has no images"),
    ):
        site.machine.succeed(f"cd {folder} && {harm}")
        found = verdict(site, "web")
        assert found[0] == "damaged", (harm, found)
        assert what in found[1]
        site.machine.succeed(again)
    site.machine.succeed(f"rm {folder}/manifest.json")
    assert verdict(site, "web") == ("unhashed", "")
    assert verdict(site, "web@1") == ("unhashed", "")
    site.machine.succeed("rm -r /root/good")


def test_what_is_saved_on_the_way_down_is_verified_too(site: Site) -> None:
    before = site.redis("web")
    site.machine.succeed("systemctl stop docker.service docker.socket")
    site.wait_for(lambda: hashed(site, "web"))
    assert verdict(site, "web") == ("good", "")
    site.machine.succeed("systemctl start docker.service")
    site.wait_restored()
    assert site.seen_in("web") == before


def test_snapshots_go_as_the_configuration_says(site: Site) -> None:
    site.set_up_guardian("[retention]\nsnapshots = 2\n")
    site.run("web", SLEEP)
    for _ in range(4):
        site.machine.succeed("guardianctl snapshot web")
    assert [item["name"] for item in listed(site)] == ["web@3", "web@4"]
    last = listed(site)[-1]["taken"]
    site.set_up_guardian('[retention]\nmax-age = "1s"\n')
    site.wait_for(lambda: float(site.machine.succeed("date +%s")) > last + 2)
    site.machine.succeed("guardianctl snapshot web")
    assert [item["name"] for item in listed(site)] == ["web@5"]
