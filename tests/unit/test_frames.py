"""Frames on a pipe."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian.host.frames import Input, LinkLost, Output, Pace, Progress
from guardian.model.errors import BadInput, GuardianError


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_messages_come_as_they_were(pipe: tuple[int, int]) -> None:
    output, incoming = Output(pipe[1]), Input(pipe[0])
    output.message({"a": 1, "text": "ü\n"})
    output.message({})
    assert incoming.message(limit=1) == {"a": 1, "text": "ü\n"}
    assert incoming.message(limit=1) == {}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=3000), max_size=20), st.integers(1, 5000))
def test_a_stream_is_what_was_written(pieces: list[bytes], size: int) -> None:
    reader, writer = os.pipe()
    got = bytearray()

    def read() -> None:
        incoming = Input(reader)
        assert incoming.message(limit=5) == {"stream": 1}
        stream = incoming.stream(limit=5)
        while data := stream.read(size):
            got.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    with Output(writer).stream({"stream": 1}) as write:
        for piece in pieces:
            write(piece)
    thread.join()
    os.close(reader)
    os.close(writer)
    assert bytes(got) == b"".join(pieces)


def test_a_file_that_grows_is_sent_to_its_end(pipe: tuple[int, int], tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"one")
    passed: list[int] = []
    with Output(pipe[1], passed.append).file({"name": "x"}, source) as more:
        assert more() == 3
        assert more() == 0
        with source.open("ab") as file:
            file.write(b"two")
        assert more() == 3
    incoming = Input(pipe[0])
    assert incoming.message(limit=1) == {"name": "x"}
    came: list[int] = []
    incoming.to_file(target, limit=1, passed=came.append)
    assert sum(came) == 6
    assert target.read_bytes() == b"onetwo"
    assert target.stat().st_mode & 0o777 == 0o600
    assert sum(passed) > 6


def test_a_stream_that_ends_in_an_error_is_not_whole(pipe: tuple[int, int]) -> None:
    def broken() -> None:
        with Output(pipe[1]).stream({}) as write:
            write(b"some")
            raise GuardianError("broke")

    with pytest.raises(GuardianError, match="broke"):
        broken()
    incoming = Input(pipe[0])
    incoming.message(limit=1)
    with pytest.raises(LinkLost):
        incoming.stream(limit=1).drain()


def test_the_other_end_is_gone(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    with pytest.raises(LinkLost):
        Input(pipe[0]).message(limit=1)


def test_nobody_reads(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(LinkLost):
        Output(pipe[1]).message({"a": 1})


def test_silence_has_an_end(pipe: tuple[int, int]) -> None:
    with pytest.raises(LinkLost, match="says nothing"):
        Input(pipe[0]).message(limit=0.05)


@pytest.mark.parametrize(
    "data",
    [
        b"J\x00\x00\x00\x02[]",
        b"J\x00\x00\x00\x02{x",
        b"D\x00\x00\x00\x01x",
        b"Z\x00\x00\x00\x00",
        b"J\xff\xff\xff\xff",
        b"J\x00\x00\x00\x01\xff",
    ],
)
def test_what_is_no_message_is_refused(pipe: tuple[int, int], data: bytes) -> None:
    os.write(pipe[1], data)
    with pytest.raises(BadInput):
        Input(pipe[0]).message(limit=1)


@pytest.mark.parametrize("data", [b"D\xff\xff\xff\xff", b"D\x00\x00\x00\x00", b"J\x00\x00\x00\x02{}"])
def test_what_is_no_stream_is_refused(pipe: tuple[int, int], data: bytes) -> None:
    os.write(pipe[1], data)
    with pytest.raises(BadInput):
        Input(pipe[0]).stream(limit=1).drain()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=64))
def test_noise_is_an_error_and_no_more(data: bytes) -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, data)
        os.close(writer)
        incoming = Input(reader)

        def read() -> None:
            while True:
                incoming.message(limit=1)

        with pytest.raises((LinkLost, BadInput)):
            read()
    finally:
        os.close(reader)


def test_a_file_is_never_replaced(pipe: tuple[int, int], tmp_path: Path) -> None:
    with Output(pipe[1]).stream({}) as write:
        write(b"new")
    incoming = Input(pipe[0])
    incoming.message(limit=1)
    (tmp_path / "there").write_text("old")
    with pytest.raises(FileExistsError):
        incoming.to_file(tmp_path / "there", limit=1)
    assert (tmp_path / "there").read_text() == "old"


def test_a_file_comes_whole_over_a_pipe_and_over_a_socket(pipe: tuple[int, int], tmp_path: Path) -> None:
    """sshd gives a pipe or a socket, by how it was built; only one of them can be spliced."""
    data = os.urandom((3 << 20) + 5)
    here, there = socket.socketpair()
    with here, there:
        for number, (reading, writing) in enumerate((pipe, (here.fileno(), there.fileno()))):
            source = tmp_path / f"source{number}"
            source.write_bytes(data)
            incoming = Input(reading)

            def send(source: Path = source, writing: int = writing) -> None:
                with Output(writing).file({}, source) as more:
                    more()

            sending = threading.Thread(target=send)
            sending.start()
            incoming.message(limit=5)
            incoming.to_file(tmp_path / f"target{number}", limit=5)
            sending.join()
            assert (tmp_path / f"target{number}").read_bytes() == data


def test_little_is_left_by_the_rate_at_which_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("guardian.host.frames.time.monotonic", lambda: now[0])
    pace = Pace(1000, ahead=2.0)
    found = []
    for _ in range(10):
        found.append(pace.nearly(100))
        now[0] += 1.0
    # 100 a second: with 200 left it is two seconds.
    assert found == [False] * 7 + [True] * 3


def test_progress_says_bytes_rate_and_time_left() -> None:
    said: list[str] = []
    progress = Progress(said.append, every=0.0)
    progress.expect(200 << 20)
    progress.passed(100 << 20)
    assert said
    assert "100 MiB" in said[0]
    assert "s left" in said[0]
