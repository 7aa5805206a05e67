"""The container comes back with its addresses on every network it is on, its names and its network settings."""

from __future__ import annotations

import pytest

from tests.host.outside import client, no_resets, unnoticed
from tests.host.site import Site

BOTH = ("restart", "reboot")
WAY = {"restart": Site.restart_docker, "reboot": Site.reboot}
ADDRESSES = "{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}} {{end}}"


@pytest.mark.parametrize("way", BOTH)
def test_several_networks_aliases_and_settings(site: Site, way: str) -> None:
    machine = site.machine
    machine.succeed("docker network create --subnet 10.55.0.0/24 front; docker network create back")
    before = site.redis(
        "srv",
        "--network front --ip 10.55.0.77 --network-alias main -p 8080:6379 --sysctl net.ipv4.tcp_keepalive_time=99",
    )
    machine.succeed("docker network connect --alias second back srv; guardianctl list")
    site.run("other", "sleep infinity", "--network back", guarded=False)
    addresses = site.inspect("srv", ADDRESSES)
    assert "front=10.55.0.77" in addresses

    WAY[way](site)

    assert site.seen_in("srv") == before
    assert (site.outcome("srv"), site.reason("srv")) == ("resumed", "")
    assert site.inspect("srv", ADDRESSES) == addresses
    machine.succeed("docker start other")
    own = dict(pair.split("=") for pair in addresses.split())["back"]
    for name in ("srv", "second"):
        assert machine.succeed(f"docker exec other getent hosts {name}").split()[0] == own
    assert machine.succeed("docker exec srv getent hosts other").split()[1] == "other"
    assert machine.succeed("docker exec srv cat /proc/sys/net/ipv4/tcp_keepalive_time") == "99\n"
    assert machine.succeed("docker exec srv cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "0\n"


@pytest.mark.parametrize("network", ["bridge", "project_default"])
def test_addresses_that_docker_chose_are_given_back(site: Site, network: str) -> None:
    """The default bridge, and a network as Compose makes it: no subnet of anybody's choice."""
    if network != "bridge":
        site.machine.succeed(f"docker network create --label com.docker.compose.project=project {network}")
    names = [f"srv{number}" for number in range(5)]
    for name in names:
        site.run(name, "sleep infinity", f"--network {network} --restart always")
    site.machine.succeed("docker restart -t 0 srv1 srv0")
    addresses = {name: site.inspect(name, ADDRESSES) for name in names}
    for way in (Site.restart_docker, Site.reboot):
        way(site)
        assert {name: site.inspect(name, ADDRESSES) for name in names} == addresses
        assert {site.outcome(name) for name in names} == {"resumed"}


def test_no_network_at_all(site: Site) -> None:
    before = site.redis("srv", "--network none")
    site.restart_docker()
    site.reboot()
    assert site.seen_in("srv") == before
    assert site.outcome("srv") == "resumed"


@pytest.mark.parametrize("way", BOTH)
def test_a_container_on_the_network_itself_keeps_its_clients(site: Site, way: str) -> None:
    """Macvlan: an address beside the host's, nothing translated, nothing in the host's conntrack."""
    prefix = site.network.gateway.rpartition(".")[0]
    site.machine.succeed(
        f"docker network create -d macvlan --subnet {prefix}.0/24 --gateway {site.network.gateway} -o parent=host0 lan"
    )
    site.program("srv", "server 80", f"--network lan --ip {prefix}.200")
    with client(site, 80, host=f"{prefix}.200", count=3) as outside, no_resets(site):
        WAY[way](site)
        unnoticed(outside, count=3)
    assert (site.outcome("srv"), site.reason("srv")) == ("resumed", "")


def test_the_network_of_another_container_is_refused_beforehand(site: Site) -> None:
    site.run("owner", "sleep infinity")
    site.run("guest", "sleep infinity", "--network container:owner")
    told = site.list()["guest"]
    assert told["savable"] is False
    assert "--network container:" in told["reasons"][0]


def test_links_and_volumes_of_another_container_are_followed(site: Site) -> None:
    """No label says it: `--link` and `--volumes-from` do. dockerd starts no container before what it links to."""
    before = site.redis("zdb", "-v /owned")
    site.program("app", "client zdb 6379", "-i --link zdb:zdb --volumes-from zdb")
    for way in (Site.restart_docker, Site.reboot):
        way(site)
        assert site.seen_in("zdb") == before
        assert (site.outcome("app"), site.reason("app")) == ("resumed", "")


@pytest.mark.parametrize("way", BOTH)
@pytest.mark.parametrize("network", ["bridge", "project_default"])
def test_lower_addresses_that_became_free_cost_nothing(site: Site, network: str, way: str) -> None:
    """dockerd gives out the lowest free address: placeholders take those, and are gone afterwards."""
    if network != "bridge":
        site.machine.succeed(f"docker network create {network}")
    for name in ("lower", "lowest"):
        site.run(name, "sleep infinity", f"--network {network}", guarded=False)
    site.program("srv", "server 80", f"-p 8080:80 --network {network}")
    site.run("between", "sleep infinity", f"--network {network}", guarded=False)
    site.program("second", "server 80", f"-p 8081:80 --network {network}")
    images = site.machine.succeed("docker images -q")
    before = {name: site.inspect(name, ADDRESSES) for name in ("srv", "second")}
    with client(site, 8080) as outside, client(site, 8081) as another, no_resets(site):
        assert site.list()["srv"]["problems"] == []
        site.machine.succeed("docker rm -f lower lowest between")
        WAY[way](site)
        unnoticed(outside)
        unnoticed(another)
    assert {name: site.inspect(name, ADDRESSES) for name in ("srv", "second")} == before
    assert (site.reason("srv"), site.reason("second")) == ("", "")
    assert site.machine.succeed("docker ps -aq | wc -l").strip() == "2"
    assert site.machine.succeed("docker images -q") == images
    assert site.machine.succeed("ls /run/guardian/tickets") == ""
    assert len(site.machine.succeed("ls -d /sys/fs/cgroup/system.slice/docker-*.scope").split()) == 2


def test_an_address_that_another_one_may_take_is_said_before_and_after(site: Site) -> None:
    """An unguarded container that dockerd starts first: memory goes on, connections are closed; --ip is the cure."""
    site.program("srv", "server 80", "-p 8080:80")
    site.run("other", "sleep infinity", "--restart always", guarded=False)
    with client(site, 8080) as outside:
        assert "may come back with another address on 'bridge'" in site.list()["srv"]["problems"][0]
        site.restart_docker()
        site.wait_for(lambda: outside.seen()["resets"] + outside.seen()["ends"] == 1)
    assert site.outcome("srv") == "resumed"
    assert "another address, its 1 connections were closed" in site.reason("srv")
    with client(site, 8080):
        pass
