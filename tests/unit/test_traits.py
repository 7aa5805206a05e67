"""What stands in the way of saving a container: seen in /proc, said with its cure."""

from __future__ import annotations

import mmap
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.host import mountinfo
from guardian.host import traits as seen
from guardian.host.space import memory_in, memory_of_process
from guardian.model.traits import (
    GHOST_LIMIT,
    Deleted,
    Descriptor,
    Mapping,
    Obstacle,
    Process,
    Traits,
    obstacles,
)


def one(**facts: Any) -> Traits:
    return Traits(processes=(Process("app", **facts),))


def opened(link: str, **facts: Any) -> Traits:
    return one(descriptors=(Descriptor(link, **facts),))


FORBIDDEN = {
    "ghost": (one(deleted=(Deleted("/tmp/big", GHOST_LIMIT + 1),)), "/tmp/big open, deleted and 1024 MiB"),
    "unix": (Traits(linked=("/run/db.sock",)), "unix socket (/run/db.sock)"),
    "io_uring": (opened("anon_inode:[io_uring]"), "uses io_uring"),
    "io_uring mapped": (one(mappings=(Mapping("rw-s", "anon_inode:[io_uring]"),)), "uses io_uring"),
    "perf": (opened("anon_inode:[perf_event]"), "uses perf_event"),
    "bpf": (opened("anon_inode:bpf-prog"), "uses bpf-prog"),
    "userfaultfd": (opened("anon_inode:[userfaultfd]"), "uses userfaultfd"),
    "kvm": (opened("/dev/kvm", device=(10, 232)), "the device /dev/kvm open"),
    "fuse": (opened("/dev/fuse", device=(10, 229)), "the device /dev/fuse open"),
    "gpu": (opened("/dev/nvidia0", device=(195, 0)), "graphics processor (/dev/nvidia0)"),
    "gpu mapped": (one(mappings=(Mapping("rw-s", "/dev/dri/card0"),)), "graphics processor"),
    "vsock": (opened("socket:[1]", protocol="AF_VSOCK"), "a socket of the kind AF_VSOCK"),
    "alg": (opened("socket:[1]", protocol="ALG"), "a socket of the kind ALG"),
    "sctp": (opened("socket:[1]", protocol="SCTP"), "a socket of the kind SCTP"),
    "jit": (one(first_code="r-xs"), "PHP's JIT"),
    "traced": (one(tracer=7), "is traced by process 7"),
    "nested": (one(spaces=("mnt", "pid", "user")), "in a pid, user namespace of its own"),
    "limits": (Traits((Process("app", user=7),), resource_right=False), "no CAP_SYS_RESOURCE"),
}
WARNED = {
    "tun": (opened("/dev/net/tun", device=(10, 200)), "tun or tap"),
    "gpu with plug-in": (
        Traits((Process("app", descriptors=(Descriptor("/dev/kfd", device=(511, 0)),)),), plugins=True),
        "graphics processor",
    ),
    "mptcp": (opened("socket:[1]", protocol="MPTCP"), "a socket of the kind MPTCP"),
    "mapped device": (one(mappings=(Mapping("rw-s", "/dev/hpet"),)), "/dev/hpet mapped"),
    "foreign code": (
        Traits((Process("app", mappings=(Mapping("r-xp", "/opt/x/y.so"),)),), binds=(("/opt/x", ""),)),
        "code of the host's (/opt/x/y.so)",
    ),
    "slave": (Traits(binds=(("/data", "slave"),)), "/data is mounted slave"),
    "exec": (Traits(strangers=("bash", "sh", "bash")), "session or health check runs in it (bash, sh)"),
    "network": (one(spaces=("net",)), "a net namespace of its own"),
    "watches": (one(watches_overlay=True), "watches files of its image"),
}


def _only(traits: Traits) -> Obstacle:
    (found,) = obstacles(traits)
    assert found.cure
    return found


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_criu_cannot_save_forbids(case: str) -> None:
    traits, said = FORBIDDEN[case]
    found = _only(traits)
    assert found.forbids
    assert said in found.what


@pytest.mark.parametrize("case", WARNED)
def test_what_may_go_well_is_only_said(case: str) -> None:
    traits, said = WARNED[case]
    found = _only(traits)
    assert not found.forbids
    assert said in found.what


def test_what_criu_saves_is_no_obstacle() -> None:
    links = [
        "eventfd",
        "[eventfd]",
        "[eventpoll]",
        "inotify",
        "[fanotify]",
        "[signalfd]",
        "[timerfd]",
        "[pidfd]",
        "bpf-map",
    ]
    protocols = ["TCP", "TCPv6", "UDP", "UDPv6", "UNIX", "UNIX-STREAM", "NETLINK", "RAW", "PACKET", ""]
    devices = {"/dev/null": (1, 3), "/dev/urandom": (1, 9), "/dev/pts/0": (136, 0), "/dev/tty": (5, 0)}
    healthy = Process(
        "app",
        user=1000,
        spaces=("mnt", "cgroup"),
        descriptors=(
            *(Descriptor(f"anon_inode:{link}") for link in links),
            *(Descriptor("socket:[1]", protocol=protocol) for protocol in protocols),
            *(Descriptor(link, device=device) for link, device in devices.items()),
            Descriptor("pipe:[7]"),
            Descriptor("/data/file"),
        ),
        deleted=(Deleted("/tmp/small", GHOST_LIMIT),),
        mappings=(
            Mapping("r-xp", "/usr/bin/app"),
            Mapping("rw-s", "/dev/zero (deleted)"),
            Mapping("rw-s", "/dev/shm/a"),
        ),
        first_code="r-xp",
    )
    assert obstacles(Traits((healthy, Process("jit", first_code="rwxs")), binds=(("/data", ""),))) == ()


def test_what_forbids_comes_first_and_nothing_twice() -> None:
    ring = Process("app", descriptors=(Descriptor("anon_inode:[io_uring]"),) * 2, watches_overlay=True)
    found = obstacles(Traits((ring, ring), strangers=("sh",)))
    assert [item.forbids for item in found] == [True, False, False]


@given(st.text(), st.text())
def test_hostile_names_stay_on_one_line(name: str, path: str) -> None:
    traits = Traits((Process(name, deleted=(Deleted(path, GHOST_LIMIT * 2),), tracer=1),), linked=(path,))
    for found in obstacles(traits):
        assert (found.what + found.cure).isprintable()


def test_the_first_code_is_found_in_the_maps() -> None:
    text = (
        "400000-401000 r--p 00000000 00:1a 7   /usr/bin/php\n"
        "401000-402000 r-xs 00000000 00:01 8   /dev/zero (deleted)\n"
        "402000-403000 r-xp 00000000 00:1a 7   /usr/bin/my php\n"
        "7f0000-7f1000 rw-s 00000000 00:0e 9   anon_inode:[io_uring]\n"
        "7f2000-7f3000 rw-p 00000000 00:00 0\n"
        "7ff000-800000 r-xp 00000000 00:00 0   [vdso]\n"
    )
    found, first = seen.mapped(text)
    assert first == "r-xs"
    assert Mapping("r-xp", "/usr/bin/my php") in found
    assert Mapping("rw-s", "anon_inode:[io_uring]") in found
    assert not [item for item in found if item.path == "[vdso]"]


def test_watched_devices() -> None:
    text = "pos:\t0\ninotify wd:1 ino:9e7e sdev:80000a mask:800afce ignored_mask:0 fhandle-bytes:8\n"
    assert seen.watched(text) == {os.makedev(8, 10)}
    text = "fanotify flags:10 event-flags:0\nfanotify ino:4f sdev:1b mflags:0 mask:3b\n"
    assert seen.watched(text) == {os.makedev(0, 27)}


def test_mounts() -> None:
    text = (
        "1 0 0:40 / / rw,relatime - overlay overlay rw\n"
        "2 1 8:1 /x /with\\040space rw shared:3 master:1 - ext4 /dev/sda1 rw\n"
        "3 1 8:1 /y /low rw master:1 - ext4 /dev/sda1 rw\n"
        "4 1 0:50 / /remote rw - fuse.sshfs host: rw\n"
    )
    assert seen.mounts_of(list(mountinfo.parse(text))) == (
        ["/remote"],
        {"/with space": "shared and slave", "/low": "slave"},
    )


def test_the_other_end_of_unix_connections() -> None:
    told = (
        "u_str ESTAB 0 0 * 10 * 11\n"
        "u_str ESTAB 0 0 * 11 * 10\n"
        "u_str ESTAB 0 0 * 12 * 90\n"
        "u_str ESTAB 0 0 /run/db.sock 90 * 12\n"
        "u_seq ESTAB 0 0 @own 13 * 91\n"
        "u_str ESTAB 0 0 * 14 * 0\n"
        "u_dgr ESTAB 0 0 * 15 * 92\n"
    )
    inodes = {"10", "11", "12", "13", "14", "15"}
    assert seen.foreign(told, inodes, inodes) == ["/run/db.sock", "@own"]


@given(st.text())
def test_noise_breaks_nothing(text: str) -> None:
    seen.mapped(text)
    seen.watched(text)
    seen.mounts_of(list(mountinfo.parse(text)))
    seen.foreign(text, {"1"}, {"1"})


def test_memory() -> None:
    text = "Name:\tx\nVmRSS:\t99 kB\nRssAnon:\t    10 kB\nRssFile:\t5 kB\nRssShmem:\t2 kB\nVmSwap:\t1 kB\n"
    assert memory_in(text) == 13 * 1024


def test_shared_memory_counts_once() -> None:
    """Each of a hundred processes shows the whole of it, and has its share."""
    status = "RssAnon:\t 10 kB\nRssFile:\t 99 kB\nRssShmem:\t 8000 kB\nVmSwap:\t 2 kB\n"
    rollup = "Rss: 8100 kB\nPss: 190 kB\nPss_Anon: 10 kB\nPss_Shmem: 80 kB\n"
    assert memory_in(status, rollup) == 92 * 1024
    assert memory_in(status) == 8012 * 1024


def test_memory_of_this_process() -> None:
    with mmap.mmap(-1, 32 << 20) as shared:
        shared.write(bytes(range(256)) * (4096 * 32))
        seen = memory_of_process(os.getpid())
        assert seen > 32 << 20
        child = os.fork()
        if not child:
            shared.seek(0)
            shared.read()
            os._exit(0 if memory_of_process(os.getpid()) < seen else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
