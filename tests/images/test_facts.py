"""Facts that `inspect` shows and that the planted program has not all of."""

from __future__ import annotations

import ipaddress
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from pycriu.images import magic, pb

from guardian.host.images.folder import BadImage, Folder
from guardian.host.images.processes import inspect, statistics
from guardian.model.inspection import Socket
from tests.unit.image_builder import PAGE, Entry, ImageBuilder, Vma, filled, write

BASE = 0x10000


def options(**values: Any) -> Any:
    made = pb.inet_sk_entry().opts.__class__(so_sndbuf=2048, so_rcvbuf=4096, **values)
    return filled(made)


@pytest.fixture
def builder(tmp_path: Path) -> ImageBuilder:
    made = ImageBuilder(tmp_path / "img")
    made.process(1, [Vma(BASE, BASE + PAGE)], [Entry(BASE, b"x" * PAGE)])
    made.core(1)
    return made


def sockets(builder: ImageBuilder) -> list[Socket]:
    return list(inspect(Folder(builder.finish())).sockets)


def test_a_tcp_socket_with_options(builder: ImageBuilder) -> None:
    word = struct.unpack("<I", ipaddress.ip_address("10.0.0.2").packed)[0]
    own = pb.inet_sk_entry(id=5, ino=77, family=2, type=1, proto=6, state=10, src_port=80, backlog=9)
    own.src_addr.append(word)
    own.opts.CopyFrom(
        options(reuseaddr=True, so_keepalive=True, so_oobinline=1, so_mark=7, so_bound_dev="eth0")
    )
    own.tcp_opts.nodelay = True
    own.v6only = True
    own.shutdown = 2
    builder.open_file("INETSK", "isk", own)
    (found,) = sockets(builder)
    assert (found.local, found.peer, found.state, found.inode) == ("10.0.0.2:80", "", "listening", 77)
    assert (found.send_buffer, found.receive_buffer, found.shutdown) == (2048, 4096, "write")
    assert set(found.options) == {"reuseaddr", "keepalive", "oobinline", "mark=7", "nodelay", "v6only"}


def test_unix_netlink_and_packet_sockets(builder: ImageBuilder) -> None:
    builder.open_file(
        "UNIXSK", "usk", pb.unix_sk_entry(id=1, ino=10, peer=11, type=1, state=1, opts=options())
    )
    builder.open_file(
        "UNIXSK", "usk", pb.unix_sk_entry(id=2, ino=11, type=1, name=b"\0abstract", opts=options())
    )
    netlink = pb.netlink_sk_entry(id=3, ino=12, protocol=16, state=7, portid=4711, opts=options())
    builder.open_file("NETLINKSK", "nlsk", netlink)
    builder.open_file(
        "PACKETSK", "psk", pb.packet_sock_entry(id=4, type=3, protocol=768, ifindex=2, opts=options())
    )
    left, right, kernel, wire = sockets(builder)
    assert (left.local, left.peer, left.inode) == ("inode 10", "@abstract", 10)
    assert (right.local, right.peer) == ("@abstract", "")
    assert (kernel.family, kernel.type, kernel.local, kernel.state) == (
        "netlink",
        "protocol 16",
        "port 4711",
        "close",
    )
    assert (wire.family, wire.type, wire.local) == ("packet", "raw, protocol 768", "interface 2")
    assert {found.send_buffer for found in (left, right, kernel, wire)} == {2048}


def test_files_mounts_names_and_pages(builder: ImageBuilder) -> None:
    own = pb.reg_file_entry(id=3, name="/etc/x", mode=0o100640, mnt_id=21, size=5)
    builder.open_file("REG", "reg", own)
    write(builder.path / "fdinfo-0.img", "FDINFO", [pb.fdinfo_entry(id=3, flags=0, type=pb.REG, fd=0)])
    mount = filled(
        pb.mnt_entry(mnt_id=21, mountpoint="/", flags=1 | 4 | 1 << 21, root="/", source="x", options="")
    )
    write(builder.path / "mountpoints-9.img", "MNTS", [mount])
    write(builder.path / "utsns-8.img", "UTSNS", [pb.utsns_entry(nodename="n", domainname="d")])
    found = inspect(Folder(builder.finish()))
    (file,) = found.processes[0].files
    assert (file.mode, file.mount, file.size) == (0o100640, 21, 5)
    assert [mount.flags for mount in found.mounts] == [("ro", "nodev", "relatime")]
    assert (found.hostname, found.domainname, found.pages) == ("n", "d", PAGE)
    assert found.processes[0].layout["start_stack"] == (1 << 64) - 1
    json.dumps(found.to_json())


def test_what_criu_counted(tmp_path: Path) -> None:
    assert statistics(Folder(tmp_path)) == {}
    message = pb.stats_entry(dump=filled(pb.dump_stats_entry(frozen_time=1500, pages_written=3)))
    data = message.SerializeToString()
    head = struct.pack("<III", magic.by_name["IMG_SERVICE"], magic.by_name["STATS"], len(data))
    (tmp_path / "stats-dump").write_bytes(head + data)
    found = statistics(Folder(tmp_path))
    assert (found["frozen_time"], found["pages_written"], found["freezing_time"]) == (1500, 3, 0)
    (tmp_path / "stats-dump").write_bytes(head + data[:-1])
    with pytest.raises(BadImage):
        statistics(Folder(tmp_path))
