"""Nobody outside notices: established connections outlive every way down."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.host.outside import PROGRAMS, client, no_resets, program, unnoticed
from tests.host.site import Site
from tests.host.test_main_job import WAYS


def fences(site: Site) -> int:
    """How many packets' fours are fenced now."""
    return site.machine.succeed("nft list table inet guardian_fence").count("timeout") - 2


@pytest.mark.parametrize("way", WAYS)
def test_a_client_outside_notices_nothing(site: Site, way: str) -> None:
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080, count=3) as outside, no_resets(site):
        WAYS[way](site)
        unnoticed(outside, count=3)
    assert site.outcome("srv") == "resumed"
    assert site.reason("srv") == ""
    assert fences(site) == 0


def test_two_hundred_connections_and_three_generations(site: Site) -> None:
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080, count=200, interval=0.5) as outside, no_resets(site):
        for way in ("restart", "reboot", "kill"):
            WAYS[way](site)
            unnoticed(outside, count=200)
            assert site.reason("srv") == ""
            assert fences(site) == 0


@pytest.mark.parametrize("way", ["restart", "reboot"])
def test_data_in_flight_is_neither_lost_nor_doubled(site: Site, way: str) -> None:
    site.program("srv", "stream serve 80", "-p 8080:80")
    with program(site.network, "stream", "connect", site.machine.address, "8080") as outside, no_resets(site):
        outside.wait_for_more("received", more=1 << 20)
        WAYS[way](site)
        now = outside.wait_for_more("received", more=1 << 20)
        assert (now["wrong"], now["ended"]) == (0, "")
        inside = json.loads(site.machine.succeed("docker exec srv cat /seen"))
        assert (inside["wrong"], inside["ended"]) == (0, "")
        assert inside["received"] > 1 << 20


@pytest.mark.parametrize("way", ["restart", "reboot"])
def test_a_connection_from_a_container_to_the_world_goes_on(site: Site, way: str) -> None:
    with program(site.network, "server", "9000"):
        site.program("asking", f"client {site.network.gateway} 9000", "-i")
        site.machine.wait_until_succeeds("docker logs --tail 1 asking | grep -q '\"connects\": 1'")
        with no_resets(site):
            WAYS[way](site)
            before = _logged(site, "asking")["requests"]
            site.wait_for(lambda: _logged(site, "asking")["requests"] > before + 10)
        now = _logged(site, "asking")
        assert (now["connects"], now["resets"], now["ends"], now["wrong"]) == (1, 0, 0, 0)
    assert site.reason("asking") == ""


def _logged(site: Site, name: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(site.machine.succeed(f"docker logs --tail 1 {name}"))
    return found


@pytest.mark.parametrize("way", ["restart", "reboot"])
def test_a_connection_between_members_goes_on(site: Site, way: str) -> None:
    site.machine.succeed("docker network create shop")
    site.program("srv", "server 80", "--network shop")
    site.program("asking", "client srv 80 5", "-i --network shop --label guardian.depends-on=srv")
    site.machine.wait_until_succeeds("docker logs --tail 1 asking | grep -q '\"connects\": 5'")

    WAYS[way](site)

    before = _logged(site, "asking")["requests"]
    site.wait_for(lambda: _logged(site, "asking")["requests"] > before + 20)
    now = _logged(site, "asking")
    assert (now["connects"], now["resets"], now["ends"], now["wrong"]) == (5, 0, 0, 0)
    assert site.reason("asking") == site.reason("srv") == ""


def test_an_ipv6_client_notices_nothing(site: Site) -> None:
    machine = site.machine
    site.network.peer_exec(["ip", "-6", "address", "add", "fd00:9::1/64", "dev", "br0", "nodad"])
    machine.succeed("ip -6 address add fd00:9::2/64 dev host0 nodad")
    if int(site.machine.succeed("docker version -f '{{.Server.Version}}'").split(".")[0]) < 27:
        # Before, docker-proxy carries what comes over IPv6, unless told otherwise.
        site.set_up_daemon({"ip6tables": True, "experimental": True})
        site.restart_docker()
    machine.succeed("docker network create --ipv6 --subnet fd00:99::/64 six")
    site.program("srv", "server 80 6", "--network six -p 8080:80")
    with client(site, 8080, host="fd00:9::2") as outside, no_resets(site):
        site.restart_docker()
        unnoticed(outside)
    assert site.reason("srv") == ""


@pytest.mark.parametrize("way", ["restart", "reboot", "kill"])
def test_a_container_on_the_hosts_network_keeps_its_clients(site: Site, way: str) -> None:
    site.program("srv", "server 7000", "--network host")
    with client(site, 7000, count=3) as outside, no_resets(site):
        WAYS[way](site)
        unnoticed(outside, count=3)
    assert site.reason("srv") == ""
    assert fences(site) == 0


def test_a_half_closed_connection_is_answered_in_the_end(site: Site) -> None:
    site.program("srv", "slow 80", "-p 8080:80")
    with program(site.network, "half", site.machine.address, "8080") as outside, no_resets(site):
        site.wait_for(lambda: "closed my half" in outside.lines())
        site.restart_docker()
        site.machine.succeed("docker exec srv touch /go")
        site.wait_for(lambda: "end of file" in outside.lines())
        assert outside.lines()[-2:] == ["answer to the question", "end of file"]


def talk_inside(site: Site) -> None:
    """Two connections of a program on the host, which docker-proxy carries."""
    machine = site.machine
    machine.copy_to(PROGRAMS / "client.py", "/root/client.py")
    talk = "sleep 600 | python3 -u /root/client.py 127.0.0.1 8080 2"
    machine.succeed(f"systemctl stop inner; systemd-run --collect --unit inner sh -c '{talk}'")
    machine.wait_until_succeeds("[ $(docker exec srv grep -c ' 01 ' /proc/net/tcp) = 2 ]")


def test_what_docker_proxy_carries_is_closed_and_named(site: Site) -> None:
    site.program("srv", "server 80", "-p 8080:80")
    talk_inside(site)
    with client(site, 8080) as outside:
        site.restart_docker()
        unnoticed(outside)
        site.machine.wait_until_succeeds("[ $(docker exec srv grep -c ' 01 ' /proc/net/tcp) = 1 ]")
    assert "closed 2 of 3 connections" in site.reason("srv")
    assert "is gone on this host" in site.reason("srv")


def test_what_was_not_accepted_yet_is_named(site: Site) -> None:
    site.program("srv", "slow 80 3", "-p 8080:80")
    with program(site.network, "half", site.machine.address, "8080") as outside:
        site.wait_for(lambda: "closed my half" in outside.lines())
        site.restart_docker()
        assert site.outcome("srv") == "resumed"
        assert "was not accepted yet" in site.reason("srv")
    assert fences(site) == 0


def test_a_peer_that_gives_up_meanwhile_costs_nothing(site: Site) -> None:
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080) as patient:
        with client(site, 8080, count=2):
            site.machine.succeed("guardianctl checkpoint srv")
        site.machine.succeed("guardianctl restore srv")
        unnoticed(patient)
    assert site.outcome("srv") == "resumed"
    site.machine.wait_until_succeeds("[ $(docker exec srv grep -c ' 01 ' /proc/net/tcp) = 0 ]", timeout=60)


def test_keepalives_that_are_not_answered_meanwhile_cost_nothing(site: Site) -> None:
    """A client with nothing to say asks every 5 s whether the other one is there."""
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080, interval=20) as outside, no_resets(site):
        site.machine.succeed("guardianctl checkpoint srv")
        timer = "state established ( dport = :8080 )"
        # ss: timer:(keepalive,TIME,PROBES UNANSWERED)
        site.wait_for(
            lambda: ",2)" in site.network.peer_exec(["ss", "-tnoH", *timer.split()]).stdout, timeout=30
        )
        site.machine.succeed("guardianctl restore srv")
        unnoticed(outside)
    assert site.reason("srv") == ""


def test_connections_are_closed_where_the_label_says_so(site: Site) -> None:
    site.program("srv", "server 80", "-p 8080:80", "--label guardian.connections=close")
    with client(site, 8080) as outside:
        site.restart_docker()
        assert site.outcome("srv") == "resumed"
        assert site.reason("srv") == "guardian.connections=close, its 1 connections were closed"
        site.wait_for(lambda: outside.seen()["resets"] + outside.seen()["ends"] == 1)


@pytest.mark.parametrize("ending", ["release --cold", "release --discard", "rm", "expired"])
def test_the_fence_of_a_container_that_does_not_come_back_is_lifted(site: Site, ending: str) -> None:
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080, count=4) as outside:
        site.machine.succeed("guardianctl checkpoint srv")
        assert fences(site) == 4
        if ending == "rm":
            site.machine.succeed("docker rm -f srv")
        elif ending == "expired":
            site.machine.succeed("sed -i s/until=.*/until=$(date +%s)/ /var/lib/guardian/fence/*")
            site.machine.succeed("/usr/libexec/docker-guardian/fence look")
        else:
            site.machine.succeed(f"guardianctl {ending} srv")
        site.wait_for(lambda: fences(site) == 0)
        site.wait_for(lambda: outside.seen()["resets"] + outside.seen()["ends"] == 4)


def test_the_fence_outlives_other_peoples_firewalls_and_its_own_death(site: Site) -> None:
    machine = site.machine
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080) as outside, no_resets(site):
        machine.succeed("guardianctl checkpoint srv")
        machine.succeed("nft flush ruleset; systemctl restart nftables; systemctl stop nftables")
        assert fences(site) == 1
        machine.fail("nft add rule inet guardian_fence in accept")
        assert machine.unit_property("guardian-fence.service", "MainPID") != "0"
        machine.succeed("systemctl restart docker.service")  # its rules were flushed
        site.wait_restored()
        unnoticed(outside)


def test_a_record_that_does_not_parse_costs_the_connections_only(site: Site) -> None:
    site.program("srv", "server 80", "-p 8080:80")
    with client(site, 8080) as outside:
        site.machine.succeed("guardianctl checkpoint srv")
        broken = '{"format": 1, "connections": [7'
        site.machine.succeed(
            f"for each in /var/lib/guardian/store/*/*/connections.json; do echo '{broken}' >$each; done"
        )
        site.machine.succeed("guardianctl restore srv")
        site.wait_for(lambda: outside.seen()["resets"] + outside.seen()["ends"] == 1)
    assert site.outcome("srv") == "resumed"
    assert "the record of its connections does not parse" in site.reason("srv")
    with client(site, 8080):
        pass


@pytest.mark.parametrize(
    ("tool", "said"),
    [("conntrack", "was not in conntrack"), ("ss", "could not be closed"), ("ip", "ip is not there")],
)
def test_a_missing_tool_costs_connections_and_is_named(site: Site, tool: str, said: str) -> None:
    path = site.machine.succeed(f"readlink -f $(which {tool})").strip()
    site.program("srv", "server 80", "-p 8080:80")
    talk_inside(site)
    with client(site, 8080):
        try:
            site.machine.succeed(f"mv {path} {path}.away")
            site.restart_docker()
        finally:
            site.machine.succeed(f"mv {path}.away {path}")
    assert site.outcome("srv") == "resumed"
    assert said in site.reason("srv")
    with client(site, 8080):
        pass


def test_twenty_containers_keep_their_clients(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(20):
            site.program(f"srv{number}", "server 80", f"-p {8100 + number}:80")
        outside = [stack.enter_context(client(site, 8100 + number, interval=0.2)) for number in range(20)]
        stack.enter_context(no_resets(site))
        site.restart_docker()
        for each in outside:
            unnoticed(each)
        site.reboot()
        for each in outside:
            unnoticed(each)


def test_a_process_of_the_host_keeps_its_connection_over_a_restart_of_dockerd(site: Site) -> None:
    site.program("srv", "server 80")
    site.machine.copy_to(PROGRAMS / "client.py", "/root/client.py")
    address = site.inspect("srv", "{{.NetworkSettings.IPAddress}}")
    talk = f"sleep 600 | python3 -u /root/client.py {address} 80 >/root/seen"
    site.machine.succeed(f"systemctl stop direct; systemd-run --collect --unit direct sh -c '{talk}'")
    site.machine.wait_until_succeeds("grep -q connects...1 /root/seen")
    site.restart_docker()
    before = json.loads(site.machine.succeed("tail -n 1 /root/seen"))["requests"]
    site.machine.wait_until_succeeds(
        f"[ $(tail -n 1 /root/seen | sed 's/.*requests...//; s/,.*//') -gt {before + 10} ]"
    )
    assert site.reason("srv") == ""


def test_a_peer_that_is_not_guarded_is_named(site: Site) -> None:
    site.machine.succeed("docker network create shop")
    site.program("srv", "server 80", "--network shop")
    site.program("stranger", "client srv 80", "-i --network shop", guarded=False)
    site.machine.wait_until_succeeds("docker logs --tail 1 stranger | grep -q connects...1")
    site.restart_docker()
    assert site.outcome("srv") == "resumed"
    assert "is a container that was not kept" in site.reason("srv")


@pytest.mark.parametrize("way", ["restart", "reboot"])
def test_members_that_talk_through_a_published_port(site: Site, way: str) -> None:
    """By the host's address, without docker-proxy: translated on the way, in one entry that both need."""
    daemon = site.set_up_daemon({"userland-proxy": False})
    site.restart_docker()
    site.machine.succeed("docker network create one")
    site.program("srv", "server 80", "--network one -p 8080:80")
    site.program("asking", f"client {site.machine.address} 8080", "-i --network one")
    site.machine.wait_until_succeeds("docker logs --tail 1 asking | grep -q connects...1")
    WAYS[way](site)
    before = _logged(site, "asking")["requests"]
    site.wait_for(lambda: _logged(site, "asking")["requests"] > before + 10)
    site.machine.write("/etc/docker/daemon.json", daemon)
    assert _logged(site, "asking")["connects"] == 1
    assert site.reason("asking") == site.reason("srv") == ""
    site.restart_docker()


def test_a_fence_that_no_hold_stands_behind_is_lifted(site: Site) -> None:
    """The power went between the two, or somebody removed the record."""
    stray = "format=1\nuntil=9999999999\n4 10.9.9.9 4000 10.9.9.1 8080\n"
    site.machine.write(f"/var/lib/guardian/fence/{'a' * 64}", stray)
    site.machine.succeed("/usr/libexec/docker-guardian/fence look")
    assert fences(site) == 1
    site.restart_docker()
    site.wait_for(lambda: fences(site) == 0)
