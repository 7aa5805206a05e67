"""Targets of the lowest floor: labels, configuration, states, records, names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from guardian.faces import configuration
from guardian.host import connections as host_connections
from guardian.host.record import Record
from guardian.model import checkpoint_name, labels, plain, process_status, states
from guardian.model.archive import Manifest, Volume
from guardian.model.checkpoint_name import Named
from guardian.model.connections import Peer, closing, fates, fates_elsewhere, said, sockets, tracked
from guardian.model.container import Attachment, Container
from guardian.model.held_files import Held, HeldFile, Place, difference
from guardian.model.move import Offer, Offered, Size, ports
from guardian.model.outcome import Outcome, Result
from guardian.model.states import Purpose, State, Verdict
from guardian.model.wording import printable
from tests.fuzz.fast.target import DEEP, JSON_WORDS, Target, coded, loaded, refusing, text
from tests.unit.samples import bind, container, id_of, volume

_TOML = Path(__file__).resolve().parents[3] / "etc" / "guardian.toml"


def _labels(data: bytes) -> str:
    own, _, image = text(data).partition("\1")
    pairs = [dict(each.partition("=")[::2] for each in part.split("\0", 6)) for part in (own, image)]
    policy = labels.parse(pairs[0], pairs[1], trust_image_labels=bool(data[:1] == b"\1"))
    for problem in policy.problems:
        assert problem.isprintable(), problem
        assert len(problem) < 2000, problem
    assert 0 <= policy.priority <= labels.MOST_PRIORITY
    assert "/" not in policy.hook
    assert not policy.hook.startswith(".")
    return f"{len(policy.problems) > 0} {len(policy.depends_on) > 0} {policy.mode.value} {policy.enabled}"


def _configuration(data: bytes) -> str:
    with refusing():
        found = configuration.parsed(data, source="guardian.toml")
    found.guards("web-1")
    assert found.store_path.startswith("/")
    return "guards" if found.guarded_names else ""


def _state(data: bytes) -> str:
    words = text(data).split("\n")
    verdict = {"commit": Verdict.COMMIT, "void": Verdict.VOID}.get(words[0])
    marks = frozenset(words[1:])
    found = states.state_of(marks, verdict)
    ended = {
        each.value for each in (State.VOID, State.TAINTED, State.ORPHANED, State.EXPIRED, State.SPENT)
    } & marks
    for purpose in Purpose:
        may = states.restorable(purpose, found, 1)
        assert not may or (verdict is Verdict.COMMIT and not ended and purpose is Purpose.SUSPEND), (
            marks,
            verdict,
        )
    return found.value


def _record(data: bytes) -> str:
    value = loaded(data)
    with refusing():
        found = Record.from_json(value)
    assert Record.from_json(found.to_json()).container == found.container
    coded(found.to_json())
    return found.purpose.value


def _facts(data: bytes) -> str:
    value = loaded(data)
    with refusing():
        found = Container.from_json(value)
    labels.parse(found.labels, found.image_labels, trust_image_labels=False)
    host_connections.own_addresses(found)
    return found.restart_policy.value


def _result(data: bytes) -> str:
    value = loaded(data)
    with refusing():
        found = Result.from_json(value)
    coded(found.to_json())
    return ""


def _held(data: bytes) -> str:
    value = loaded(data)
    with refusing(ValueError):
        found = plain.made(Held, value, more=True)
    for file in found.files:
        printable(str(file.place)).encode()
        difference(file, file)
        difference(file, None)
    return f"{len(found.files) > 0}"


def _connections(data: bytes) -> str:
    value = loaded(data)
    with refusing():
        found, problem = host_connections.parsed(value)
    if problem:
        assert problem.isprintable()
        return "problem"
    decided = fates(found, kept={"db"}, on_host=())
    fates_elsewhere(found, kept=(), own_network=True)
    for fate in decided:
        _put_back(fate.connection.entry.to_put_back() if fate.connection.entry else "")
    closing(decided).encode("ascii")
    said(decided)
    return f"{len(found) > 0}"


def _put_back(line: str) -> None:
    """What is written for runtime/conntrack.c is one line of nine plain words."""
    assert not line or len(line.split(" ")) == 9, line
    assert "\n" not in line
    assert len(line) < 500, line


def _conntrack(data: bytes) -> str:
    found = list(tracked(text(data)))
    for entry in found:
        _put_back(entry.to_put_back())
    return f"{len(found) > 0}"


def _net_tcp(data: bytes) -> str:
    with refusing(ValueError):
        found = list(sockets(text(data)))
    return f"{len(found) > 0}"


_KNOWN = tuple(
    Named(f"2026010{place}T000000000-abcde{place}", id_of(name), name, number)
    for place, (name, number) in enumerate(
        (("web", 1), ("web", 2), ("db", 1), ("a.b-c_d", 999_999_999), ("web", 2))
    )
)


def _name(data: bytes) -> str:
    with refusing():
        return checkpoint_name.find(text(data), _KNOWN).container


def _status(data: bytes) -> str:
    with refusing(ValueError):
        found = process_status.parse(text(data))
    return f"{found.filtered}"


def _offer(data: bytes) -> str:
    value = loaded(data)
    with refusing():
        found = Offer.from_json(value)
    for member in found.members:
        ports(member.inspection)
    coded(found.to_json())
    return ""


FULL = container(
    "web",
    labels={"guardian.enable": "true", "com.docker.compose.project": "p"},
    networks=(Attachment("net", "n" * 64, "10.0.0.2", "fd00::2", prefix4=24, prefix6=64, driver="bridge"),),
    mounts=(volume("data"), bind("/srv")),
    layer="/var/lib/docker/overlay2/x/diff",
)
RECORD = Record(
    FULL, Purpose.SUSPEND, 1.79e9, "boot", (FULL.id,), "/sys/fs/cgroup/x", True, 0, False, 3, "note"
)
_FLOW = ["10.0.0.2", 6379, "10.0.0.1", 40000]
_ENTRY = {"original": [*_FLOW[2:], *_FLOW[:2]], "reply": _FLOW, "timeout": 300}
_SIX = ["fd00::2", 80, "fd00::1", 4000]
CONNECTIONS = {
    "format": 1,
    "connections": [
        {"flow": _FLOW, "peer": peer.value, "name": "db", "entry": _ENTRY}
        for peer in (Peer.OUTSIDE, Peer.CONTAINER)
    ]
    + [{"flow": _SIX, "peer": "host", "name": "", "entry": None}],
}
CONNTRACK = (
    b"tcp      6 431999 ESTABLISHED src=192.0.2.9 dst=192.0.2.1 sport=40000 dport=80 src=172.17.0.2 dst=192.0.2.9 "
    b"sport=80 dport=40000 [ASSURED] mark=0 use=1\n"
    b"tcp      6 117 TIME_WAIT src=fd00::9 dst=fd00::1 sport=4000 dport=80 src=fd00::1 dst=fd00::9 sport=80 "
    b"dport=4000 [UNREPLIED] mark=0 secctx=system_u:object_r:unlabeled_t:s0 use=1\n"
)
_NET_TCP = (
    b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    b"   0: 020011AC:0050 090200C0:9C40 01 00000000:00000000 00:00000000 00000000     0        0 "
    b"12345 1 0 20 4 30 10 -1\n"
    b"   1: 000000000000000000000000020011AC:0050 0000000000000000FFFF0000090200C0:9C40 08 00000000:00000000 "
    b"00:00000000 00000000     0        0 12346 1 0\n"
)
STATUS = (
    b"Name:\tredis-server\nUmask:\t0022\nState:\tS (sleeping)\nTracerPid:\t0\nUid:\t999\t999\t999\t999\n"
    b"VmSwap:\t       0 kB\nRssAnon:\t    1234 kB\nRssShmem:\t       4 kB\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n"
)
_DEPENDS = (
    b"guardian.depends-on=db:healthy,cache:started, x\0com.docker.compose.depends_on=a:service_healthy:true,b"
)
HELD = Held(
    1, ("/data",), (HeldFile(Place("/data", "a/b"), 5, 7, 9, "ab" * 20), HeldFile(Place("", "bin/x"), 1, 2))
)


def _offered() -> bytes:
    """A good offer, made by what makes one."""
    manifest = Manifest(
        *(
            "20260101T000000-abcdef",
            FULL.id,
            "web",
            1.79e9,
            "suspend",
            "x86_64",
            "6.12",
            {"criu": "4.2"},
            "systemd",
        ),
        *("sha256:" + "0" * 64, ("web:1",), (), True, (Volume("data", "/data", True),), ()),
    )
    bindings = {"80/tcp": [{"HostIp": "", "HostPort": "80"}]}
    inspection = {"Config": {}, "HostConfig": {"PortBindings": bindings}}
    made = Offered(manifest, RECORD.to_json(), inspection, {"data": {}}, Size(1, 2))
    return coded(Offer("a" * 32, "host1", "0.1.0", "ab", (made,), {"web": "web2"}, False).to_json())


_SETTINGS = tuple(
    f"{word}" for word in ("[store]", "[checkpoint]", "[restore]", "[hooks]", "[retention]", "[log]")
)
_STATE_WORDS = (*(f"\n{state.value}".encode() for state in State), b"\ndeparting", b"commit", b"void")

TARGETS = (
    Target(
        "labels",
        _labels,
        (
            b"guardian.enable=true\0" + _DEPENDS,
            b"guardian.enable=TRUE\1guardian.enable=TRUE",
            b'guardian.pre-checkpoint=["/bin/sh","-c","x"]\0guardian.post-restore=sync; x\0guardian.hook=a.sh',
            b"guardian.mode=stop\0guardian.priority=1000\0guardian.stale=volume\0guardian.group=all-or-nothing",
            b"guardian.connections=close\0guardian.enabel=true",
            b"guardian.pre-checkpoint=" + DEEP,
        ),
        (
            *(f"\0{label.name}=".encode() for label in labels.LABELS),
            b"service_started",
            b":healthy",
            b"\xe2\x80\xa8",
            b"1001",
        ),
        longest=1300,
    ),
    Target(
        "configuration",
        _configuration,
        (
            _TOML.read_bytes(),
            b'[store]\npath = "/x"\nmax-size = "50G"\n[labels]\nguard = ["web-*", "[a-z]?", "db"]\n',
            b'[checkpoint]\nparallel = 3\nbudget = "5m"\n[hooks]\non-failure = "continue"\ntimeout = 0.5\n',
            b"[labels]\nguard = " + b"[" * 1200,
        ),
        (
            *(word.encode() for word in _SETTINGS),
            b"guard = [",
            b'"*"',
            b"1e400",
            b"nan",
            b"inf",
            b"-1",
            b"9" * 40,
            b"true",
        ),
        longest=5000,
    ),
    Target(
        "states",
        _state,
        (
            b"commit\nfrozen\nlocked\ndumped\ndurable\nheld\ncommitted\nkilled",
            b"void\nfrozen",
            b"\nspent\nrunning",
        ),
        _STATE_WORDS,
        longest=300,
    ),
    Target("record", _record, (coded(RECORD.to_json()),), JSON_WORDS, tree=True, longest=3000),
    Target("container-facts", _facts, (coded(FULL.to_json()),), JSON_WORDS, tree=True),
    Target(
        "result",
        _result,
        (coded(Result(FULL.id, "web", Outcome.COLD, "why", 1.5, "c").to_json()),),
        JSON_WORDS,
        tree=True,
        longest=6000,
    ),
    Target("held-files", _held, (coded(dataclasses.asdict(HELD)),), JSON_WORDS, tree=True),
    Target(
        "connections",
        _connections,
        (coded(CONNECTIONS), coded({"format": 1, "problem": "x"})),
        JSON_WORDS,
        tree=True,
    ),
    Target(
        "conntrack",
        _conntrack,
        (CONNTRACK,),
        (
            b"src=",
            b"dst=",
            b"sport=",
            b"dport=",
            b"tcp ",
            b"::ffff:1.2.3.4",
            b"fe80::1%eth0",
            b"65536",
            b"-1",
            b"9" * 40,
        ),
        longest=1500,
    ),
    Target("proc-net-tcp", _net_tcp, (_NET_TCP,), (b" 01 ", b"FFFF", b":0050")),
    Target(
        "checkpoint-names",
        _name,
        (b"web", b"web@2", b"db@1", b"20260101T0", b"/web", b"a.b-c_d@999999999"),
        (b"@", b"@1", b"\xd9\xa1", id_of("web").encode()),
        longest=300,
    ),
    Target("proc-status", _status, (STATUS,), (b"\nCapEff:\t", b"\x0c", b"\xe2\x80\xa8", b"-1")),
    Target("move-offer", _offer, (_offered(),), JSON_WORDS, tree=True, longest=6000),
)
