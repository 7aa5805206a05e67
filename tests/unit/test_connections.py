"""Who is at the other end of a connection, what must be fenced and put back, what cannot be kept."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.connections import (
    Connection,
    Fate,
    Flow,
    Peer,
    Socket,
    Surroundings,
    Tracked,
    address,
    closing,
    connections,
    fates,
    fates_elsewhere,
    moves_along,
    said,
    sockets,
    to_fence,
    tracked,
)
from guardian.model.errors import BadInput

OWN, CLIENT, HOST, DATABASE = (address(f"172.17.0.{n}") for n in (2, 9, 1, 3))
OUTSIDE, PUBLIC = address("10.0.0.5"), address("10.0.0.1")
AROUND = Surroundings(
    own=frozenset({OWN}),
    host=frozenset({HOST, PUBLIC}),
    names={OWN: "web", DATABASE: "db"},
    bridged=(ipaddress.ip_network("172.17.0.0/16"),),
)
IN = Tracked(Flow(OUTSIDE, 4000, PUBLIC, 8080), Flow(OWN, 80, OUTSIDE, 4000), 431999)
OUT = Tracked(Flow(OWN, 5000, OUTSIDE, 443), Flow(OUTSIDE, 443, PUBLIC, 61000), 100)
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31 1 0 100 0 0 10 0
   1: 020011AC:0050 0500000A:0FA0 01 00000000:00000000 00:00000000 00000000     0        0 77 1 0 20 4 30 10 -1
   2: 020011AC:0050 0500000A:0FA1 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
   3: 020011AC:0050 0500000A:0FA2 08 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 0000000000000000FFFF0000020011AC:0050 0000000000000000FFFF00000500000A:0FA0 01 0:0 00:0 0 0 0 9 1 0 20
   1: 0000000000000000000000000000DD00:0050 B80D0120000000000000000001000000:0FA0 01 0:0 00:0 0 0 0 9 1 0 20
"""
CONNTRACK = """\
tcp      6 431999 ESTABLISHED src=10.0.0.5 dst=10.0.0.1 sport=4000 dport=8080 src=172.17.0.2 dst=10.0.0.5 sport=80 \
dport=4000 [ASSURED] mark=0 use=1
tcp      6 100 ESTABLISHED src=172.17.0.2 dst=10.0.0.5 sport=5000 dport=443 packets=1 bytes=2 [UNREPLIED] src=10.0.0.5 \
dst=10.0.0.1 sport=443 dport=61000 packets=0 bytes=0 mark=0 zone=1 use=1
udp      17 3 src=10.0.0.5 dst=10.0.0.1 sport=4000 dport=53 src=172.17.0.2 dst=10.0.0.5 sport=53 dport=4000 use=1
tcp      6 x ESTABLISHED src=10.0.0.5 dst=10.0.0.1 sport=4000 dport=8080 src=172.17.0.2 dst=10.0.0.5 sport=80 dport=1
conntrack v1.4.8 (conntrack-tools): 3 flow entries have been shown.
"""

addresses = st.ip_addresses().map(str).map(address)
ports = st.integers(1, 65535)
flows = st.builds(Flow, addresses, ports, addresses, ports)
entries = st.builds(Tracked, flows, flows, st.integers(0, 10**6))


def test_sockets_are_read_from_the_kernels_table() -> None:
    assert list(sockets(TCP)) == [
        Socket(Flow(OWN, 80, OUTSIDE, 4000), 77),
        Socket(Flow(OWN, 80, OUTSIDE, 4002), 0),
    ]


def test_ipv4_in_ipv6_is_ipv4() -> None:
    first, second = sockets(TCP6)
    assert first.flow == Flow(OWN, 80, OUTSIDE, 4000)
    assert str(second.flow.target) == "2001:db8::1"


def test_conntrack_entries_are_read_whatever_stands_between() -> None:
    assert list(tracked(CONNTRACK)) == [IN, OUT]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert all(isinstance(item, Tracked) for item in tracked(text))


def look(*found: Socket) -> tuple[Connection, ...]:
    return connections(found, [IN, OUT], AROUND)


@pytest.mark.parametrize(
    ("flow", "inode", "peer", "name"),
    [
        (IN.reply, 7, Peer.OUTSIDE, ""),
        (OUT.original, 7, Peer.OUTSIDE, ""),
        (IN.reply, 0, Peer.QUEUE, ""),
        (Flow(OWN, 5001, DATABASE, 6379), 7, Peer.CONTAINER, "db"),
        (Flow(OWN, 5001, CLIENT, 6379), 7, Peer.CONTAINER, ""),
        (Flow(OWN, 80, HOST, 4000), 7, Peer.HOST, ""),
        (Flow(OWN, 80, OUTSIDE, 999), 7, Peer.UNTRACKED, ""),
    ],
)
def test_who_is_at_the_other_end(flow: Flow, inode: int, peer: Peer, name: str) -> None:
    (found,) = look(Socket(flow, inode))
    assert (found.peer, found.name) == (peer, name)


def test_a_member_is_known_behind_a_published_port() -> None:
    there = Tracked(Flow(OWN, 5002, PUBLIC, 8080), Flow(DATABASE, 6379, OWN, 5002), 100)
    (found,) = connections([Socket(there.original, 7)], [there], AROUND)
    assert (found.peer, found.name) == (Peer.CONTAINER, "db")
    assert to_fence([found], [OWN], both_ways=False) == {there.reply}
    assert not fates([found], kept=["db"], on_host=[])[0].lost


def test_a_network_without_translation_needs_no_entry() -> None:
    around = Surroundings(frozenset({OWN}), frozenset(), {})
    (found,) = connections([Socket(Flow(OWN, 80, OUTSIDE, 999), 7)], [], around)
    assert found.peer is Peer.OUTSIDE


def test_a_connection_with_itself_is_nobodys_business() -> None:
    flow = Flow(OWN, 5001, OWN, 80)
    assert look(Socket(flow, 7), Socket(flow.back(), 8)) == ()


def test_what_arrives_from_outside_is_fenced() -> None:
    found = look(Socket(IN.reply, 7), Socket(OUT.original, 8), Socket(Flow(OWN, 5001, DATABASE, 6379), 9))
    assert to_fence(found, [OWN], both_ways=False) == {IN.original, OUT.reply}
    assert to_fence(found[:1], [OWN], both_ways=True) == {IN.reply, IN.reply.back()}


def test_an_entry_is_put_back_with_some_time() -> None:
    assert IN.to_put_back() == "431999 10.0.0.5 4000 10.0.0.1 8080 172.17.0.2 80 10.0.0.5 4000"
    assert OUT.to_put_back().startswith("600 ")


def test_what_cannot_be_kept_has_a_reason() -> None:
    found = look(
        Socket(IN.reply, 7),
        Socket(OUT.original, 0),
        Socket(Flow(OWN, 5001, DATABASE, 6379), 7),
        Socket(Flow(OWN, 5001, CLIENT, 6379), 7),
        Socket(Flow(OWN, 80, HOST, 4000), 7),
        Socket(Flow(OWN, 80, OUTSIDE, 999), 7),
    )
    lost = fates(found, kept=["web"], on_host=[])
    assert [fate.lost for fate in lost] == [
        "",
        "was not accepted yet",
        "was not kept",
        "is a container that was not kept",
        "is gone on this host",
        "was not in conntrack",
    ]
    assert said(lost) == (
        "closed 5 of 6 connections: 10.0.0.5:443 was not accepted yet, db (172.17.0.3:6379) was not kept, "
        "172.17.0.9:6379 is a container that was not kept, ..."
    )
    kept = fates(found, kept=["web", "db"], on_host=[Flow(HOST, 4000, OWN, 80)])
    assert [bool(fate.lost) for fate in kept] == [False, True, False, True, False, True]


def test_what_moves_along_is_kept_elsewhere() -> None:
    """A published port on an address that moves, and what went out as that address."""
    found = look(Socket(IN.reply, 7), Socket(OUT.original, 8), Socket(Flow(OWN, 80, CLIENT, 1), 9))
    assert [moves_along(item, {PUBLIC}) for item in found] == [True, True, False]
    assert not any(moves_along(item, {HOST}) for item in found)
    stays = fates_elsewhere(found, kept=(), own_network=True)
    assert [bool(fate.lost) for fate in stays] == [True, True, True]
    assert stays[0].connection.entry is None
    moved = fates_elsewhere(found, kept=(), own_network=True, moving={PUBLIC})
    assert [bool(fate.lost) for fate in moved] == [False, False, True]
    assert moved[0].connection.entry == IN
    # A socket on the host's own network cannot be bound before the address is there.
    assert all(fate.lost for fate in fates_elsewhere(found, kept=(), own_network=False, moving={PUBLIC}))


def test_nothing_lost_is_nothing_said() -> None:
    kept = fates(look(Socket(IN.reply, 7)), kept=[], on_host=[])
    assert said(kept) == ""
    assert closing(fate for fate in kept if fate.lost) == ""


def test_sockets_are_closed_by_their_four() -> None:
    lost = [
        Fate(Connection(Flow(OWN, 80, HOST, 4000), Peer.HOST), "x"),
        Fate(Connection(Flow(address("fd00::2"), 80, address("fd00::1"), 1), Peer.HOST), "x"),
    ]
    assert closing(lost) == (
        "( src 172.17.0.2:80 and dst 172.17.0.1:4000 ) or ( src [fd00::2]:80 and dst [fd00::1]:1 )"
    )


@given(st.builds(Connection, flows, st.sampled_from(Peer), st.text(), st.none() | entries))
def test_a_record_is_read_as_it_was_written(connection: Connection) -> None:
    assert Connection.from_json(json.loads(json.dumps(connection.to_json()))) == connection


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["flow", "peer", "name", "entry", "timeout"]), inner)
    ),
)


@given(anything)
def test_a_broken_record_is_bad_input(data: object) -> None:
    try:
        Connection.from_json(data)
    except BadInput:
        return
    pytest.fail("nothing made up here is a connection")
