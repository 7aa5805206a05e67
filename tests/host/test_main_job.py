"""The promise: labelled containers go on where they were, whatever way dockerd goes down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.host.site import Site

WAYS: dict[str, Callable[[Site], None]] = {
    "reboot": Site.reboot,
    "restart": Site.restart_docker,
    "kill": Site.kill_docker,
    "poweroff": Site.poweroff,
    "stop": Site.stop_docker,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_redis_goes_on_and_an_unguarded_one_does_not(site: Site, way: str) -> None:
    before = site.redis("guarded", "--restart always")
    control = site.redis("control", "--restart always", guarded=False)

    WAYS[way](site)

    assert site.seen_in("guarded") == before
    assert site.outcome("guarded") == "resumed"
    assert site.seen_in("control") != control
    assert site.inspect("guarded", "{{.HostConfig.RestartPolicy.Name}}") == "always"
    assert "control" not in site.list()


def test_three_generations(site: Site) -> None:
    before = site.redis("guarded")
    for way in (Site.reboot, Site.restart_docker, Site.kill_docker):
        way(site)
        assert site.outcome("guarded") == "resumed"
        assert site.seen_in("guarded") == before
