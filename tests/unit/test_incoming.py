"""Requests with descriptors, over real sockets: taken once, refused where they do not fit, closed whatever happens."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guardian.faces import errands, worker_errand
from guardian.faces.incoming import Incoming
from guardian.faces.jobs import Call
from guardian.model.errors import BadInput


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        yield ours, theirs


def is_open(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").exists()


Pair = tuple[socket.socket, socket.socket]


def test_lines_one_after_the_other(pair: Pair) -> None:
    ours, theirs = pair
    ours.sendall(b"one\ntwo\nthr\xff")
    ours.shutdown(socket.SHUT_WR)
    with Incoming(theirs) as incoming:
        assert incoming.readline() == "one"
        assert incoming.ready(0)
        assert [incoming.readline() for _ in range(3)] == ["two", "thr\ufffd", ""]
        assert incoming.descriptor(needed=False) is None


def test_nothing_is_not_ready(pair: Pair) -> None:
    with Incoming(pair[1]) as incoming:
        assert not incoming.ready(0)


def test_a_line_without_an_end(pair: Pair) -> None:
    ours, theirs = pair
    writing = threading.Thread(target=ours.sendall, args=(b"x" * (1 << 21) + b"\n",), daemon=True)
    writing.start()
    with Incoming(theirs) as incoming, pytest.raises(BadInput, match="too long"):
        incoming.readline()
    while not theirs.recv(1 << 20).endswith(b"\n"):
        pass
    writing.join()


def test_a_descriptor_comes_with_the_line(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    with (tmp_path / "file").open("w+") as file:
        socket.send_fds(ours, [b"line\n"], [file.fileno()])
        with Incoming(theirs) as incoming:
            assert incoming.readline() == "line"
            found = incoming.descriptor(needed=True)
            assert found is not None
            assert os.path.sameopenfile(found, file.fileno())
            assert not os.get_inheritable(found)
            with pytest.raises(BadInput, match="it needs none, it has 1"):
                incoming.descriptor(needed=False)
        assert not is_open(found)


def test_a_line_in_pieces_keeps_its_descriptor(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    with (tmp_path / "file").open("w+") as file, Incoming(theirs) as incoming:
        socket.send_fds(ours, [b"li"], [file.fileno()])
        later = threading.Timer(0.05, ours.sendall, args=(b"ne\n",))
        later.start()
        assert incoming.readline() == "line"
        later.join()
        assert incoming.descriptor(needed=True) is not None


@pytest.mark.parametrize("count", [0, 2, 3, 50])
def test_too_many_or_none(pair: Pair, count: int) -> None:
    ours, theirs = pair
    socket.send_fds(ours, [b"line\n"], [ours.fileno()] * count)
    before = set(os.listdir("/proc/self/fd"))
    with Incoming(theirs) as incoming:
        incoming.readline()
        for needed in (True, False)[: 2 if count else 1]:
            with pytest.raises(BadInput, match="descriptor" if needed else "it needs none"):
                incoming.descriptor(needed=needed)
    assert set(os.listdir("/proc/self/fd")) == before


def test_later_descriptors_are_not_taken(pair: Pair) -> None:
    ours, theirs = pair
    with Incoming(theirs) as incoming:
        ours.sendall(b"one\n")
        incoming.readline()
        before = set(os.listdir("/proc/self/fd"))
        socket.send_fds(ours, [b"two\n"], [ours.fileno()])
        assert incoming.readline() == "two"
        assert incoming.descriptor(needed=False) is None
        assert set(os.listdir("/proc/self/fd")) == before


ERRAND = {"host": "", "options": {}}
IMPORT = {"call": "import", "containers": [], "errand": ERRAND}


@pytest.mark.parametrize(
    ("request_", "count", "said"),
    [
        ({"call": "remove", "containers": []}, 1, "it needs none, it has 1"),
        ({"call": "migrate", "containers": ["web"], "errand": ERRAND | {"host": "two"}}, 1, "needs none"),
        (IMPORT, 0, "needs one descriptor, it has none"),
        (IMPORT, 2, "it has 2"),
        (IMPORT | {"errand": {"host": "", "options": {"x": 1}}}, 1, "no option 'x'"),
        ({"call": "import", "containers": []}, 1, "an errand needs host and options"),
        ({"call": "export", "containers": ["-o"], "errand": ERRAND}, 1, "is no name"),
        ({"call": "nonsense"}, 1, "does not parse"),
    ],
)
def test_requests_that_are_refused_leave_nothing_open(
    pair: Pair, request_: dict[str, Any], count: int, said: str
) -> None:
    ours, theirs = pair
    before = set(os.listdir("/proc/self/fd"))
    socket.send_fds(ours, [json.dumps(request_).encode() + b"\n"], [ours.fileno()] * count)
    with Incoming(theirs) as incoming, pytest.raises(BadInput) as caught:
        worker_errand.request_of(incoming)
    assert said in str(caught.value)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_request_with_its_descriptor(pair: Pair) -> None:
    ours, theirs = pair
    socket.send_fds(ours, [json.dumps(IMPORT).encode() + b"\n"], [ours.fileno()])
    with Incoming(theirs) as incoming:
        request, errand, descriptor = worker_errand.request_of(incoming)
    assert (request.call, errand) == (Call.IMPORT, errands.of(Call.IMPORT, (), ERRAND))
    assert descriptor is not None


def test_any_other_request(pair: Pair) -> None:
    pair[0].sendall(b'{"call": "list"}\n')
    with Incoming(pair[1]) as incoming:
        request, errand, descriptor = worker_errand.request_of(incoming)
    assert (request.call, errand, descriptor) == (Call.LIST, None, None)
