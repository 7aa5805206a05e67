"""Files that changed while their container was down: what it had open costs its memory, what it had not does not."""

from __future__ import annotations

import pytest

from tests.host.site import Site

HOLD = """\
import os, sys, time
token = os.urandom(8).hex()
kept = [open(path, "r+") for path in sys.argv[1:]]
n = 0
while True:
    n += 1
    open("/tmp/new", "w").write(f"{token} {n}")
    os.rename("/tmp/new", "/tmp/n")
    time.sleep(0.05)
"""
MAP = HOLD.replace(
    'kept = [open(path, "r+") for path in sys.argv[1:]]',
    """\
import ctypes, mmap
kept = [ctypes.CDLL(sys.argv[1])]
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        kept.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, trackfd=False))""",
)
"""Maps a library and any files, and has none of them open."""
VOLUME = "/var/lib/docker/volumes/data/_data"
BOUND = "/root/bound"


def _start(site: Site, *options: str, files: str = "/data/open", name: str = "holder") -> None:
    site.machine.write("/root/hold.py", HOLD)
    site.machine.succeed("docker volume create data")
    site.machine.succeed(f"cd {VOLUME}; test -e open || printf abcdef | tee open >other")
    site.run(name, f"python3 /hold.py {files}", "-v data:/data -v /root/hold.py:/hold.py:ro", *options)
    site.wait_for(lambda: _count(site, name) > 3)


def _written(site: Site, name: str) -> list[str]:
    return site.machine.execute(f"docker exec {name} cat /tmp/n")[1].split()


def _count(site: Site, name: str = "holder") -> int:
    return int((_written(site, name) or ["0"])[-1])


def _token(site: Site, name: str = "holder") -> str:
    """What only the process that runs now knows: it has written since, the file may be an earlier one's."""
    before = _written(site, name)
    site.wait_for(lambda: len(_written(site, name)) == 2 and _written(site, name) != before)
    return _written(site, name)[0]


def _down_and_up(site: Site, meanwhile: str) -> str:
    """Checkpoint, something that happens, restore; returns the token of before."""
    before = _token(site)
    site.machine.succeed("guardianctl checkpoint holder")
    site.machine.succeed(meanwhile)
    site.machine.execute("guardianctl restore holder")
    return before


@pytest.mark.parametrize(
    ("meanwhile", "why"),
    [
        (f"printf ghijkl >{VOLUME}/open", "was written to"),
        (f"printf longer-than-before >{VOLUME}/open", "had 6 bytes and has 18"),
        (f"rm {VOLUME}/open", "is gone"),
        (
            f"cp -p {VOLUME}/open {VOLUME}/copy; mv {VOLUME}/copy {VOLUME}/open",
            "is another file of the same size and time",
        ),
    ],
    ids=["content", "length", "gone", "replaced"],
)
def test_an_open_file_that_changed_costs_the_memory(site: Site, meanwhile: str, why: str) -> None:
    _start(site)
    _down_and_up(site, meanwhile)
    assert site.outcome("holder") == "cold"
    assert site.reason("holder") == f"/data/open, which it has open or mapped, {why}"
    states = site.machine.succeed("guardianctl checkpoints holder")
    assert "orphaned" in states, "the checkpoint is kept, with a name"
    assert not site.machine.succeed("ls /run/guardian/holds").split()


def test_another_file_of_the_volume_does_not(site: Site) -> None:
    _start(site)
    before = _down_and_up(site, f"printf 'by somebody else' >{VOLUME}/other; touch {VOLUME}/new")
    assert site.outcome("holder") == "resumed"
    assert _token(site) == before


def _start_mapping(site: Site) -> None:
    """A library and a file of the volume, and a file of a bind mount; each has a neighbour that is not mapped."""
    site.machine.write("/root/map.py", MAP)
    site.machine.succeed(
        f"docker volume create data; rm -rf {BOUND}; mkdir {BOUND}; cd {VOLUME};"
        f" printf abcdef | tee mapped other {BOUND}/mapped >{BOUND}/other;"
        " docker run --rm -v data:/data -w /usr/lib/x86_64-linux-gnu work:1"
        " sh -c 'cp libm.so.6 /data/lib.so; cp libz.so.1 /data/another.so'"
    )
    mounts = f"-v data:/data -v {BOUND}:/bound -v /root/map.py:/map.py:ro"
    site.run("holder", "python3 /map.py /data/lib.so /data/mapped /bound/mapped", mounts)
    site.wait_for(lambda: _count(site) > 3)
    pid = site.inspect("holder", "{{.State.Pid}}")
    assert site.machine.succeed(f"grep -oE '/(data|bound)/.*' /proc/{pid}/maps | sort -u").split() == [
        "/bound/mapped",
        "/data/lib.so",
        "/data/mapped",
    ]
    assert "/data/" not in (opened := site.machine.succeed(f"ls -l /proc/{pid}/fd"))
    assert "/bound/" not in opened


@pytest.mark.parametrize(
    ("meanwhile", "file", "why"),
    [
        (f"printf ghijkl >{VOLUME}/mapped", "/data/mapped", "was written to"),
        (f"printf ghijkl >{BOUND}/mapped", "/bound/mapped", "was written to"),
        (
            f"cd {BOUND} && cp -p mapped copy && mv copy mapped",
            "/bound/mapped",
            "is another file of the same size and time",
        ),
        (
            f"cd {VOLUME} && truncate -r lib.so another.so && mv another.so lib.so",
            "/data/lib.so",
            "is another build",
        ),
    ],
    ids=["volume", "bind", "replaced", "code"],
)
def test_a_file_that_is_only_mapped_and_changed_costs_the_memory(
    site: Site, meanwhile: str, file: str, why: str
) -> None:
    _start_mapping(site)
    before = _down_and_up(site, meanwhile)
    assert site.outcome("holder") == "cold"
    assert site.reason("holder") == f"{file}, which it has open or mapped, {why}"
    assert _token(site) != before


def test_mapped_files_that_did_not_change_cost_nothing(site: Site) -> None:
    """Nor do other files beside them, nor code of the same build that was put there anew."""
    _start_mapping(site)
    before = _token(site)
    site.restart_docker()
    assert (site.outcome("holder"), site.reason("holder")) == ("resumed", "")
    assert _token(site) == before
    _down_and_up(
        site,
        f"for d in {VOLUME} {BOUND}; do printf 'by somebody else' >$d/other; touch $d/new; done;"
        f" cd {VOLUME} && cp lib.so same.so && mv same.so lib.so",
    )
    assert (site.outcome("holder"), site.reason("holder")) == ("resumed", "")
    assert _token(site) == before


def test_any_file_of_a_volume_does_where_its_owner_says_so(site: Site) -> None:
    _start(site, "-l guardian.stale=volume")
    before = _down_and_up(site, "true")
    assert site.outcome("holder") == "resumed"
    assert _token(site) == before
    _down_and_up(site, f"printf 'by somebody else' >{VOLUME}/other")
    assert site.outcome("holder") == "cold"
    assert site.reason("holder") == f"its volume /data changed: {VOLUME}/other (guardian.stale=volume)"
    assert _token(site) != before


def test_nothing_does_where_its_owner_says_so(site: Site) -> None:
    _start(site, "-l guardian.stale=never")
    before = _down_and_up(site, f"printf ghijkl >{VOLUME}/open")
    assert site.outcome("holder") == "resumed"
    assert _token(site) == before


def test_a_file_of_the_layer_that_docker_cp_replaced(site: Site) -> None:
    _start(site, files="/etc/issue")
    issue = site.machine.succeed("docker exec holder cat /etc/issue")
    site.machine.write("/root/issue", issue.swapcase())
    before = _down_and_up(site, "docker cp /root/issue holder:/etc/issue")
    assert site.outcome("holder") == "cold"
    assert site.reason("holder").startswith("/etc/issue, which it has open or mapped, ")
    assert _token(site) != before


def test_two_that_write_to_one_open_file_are_looked_at_before_either_runs(site: Site) -> None:
    """The one that comes back first writes at once: that is no reason against the other.

    In place: CRIU itself refuses a file of another size (files-reg.c, validate_file), whoever has written to it.
    """
    site.machine.write(
        "/root/both.py",
        HOLD.replace("n += 1\n", 'n += 1; kept[0].seek(0); kept[0].write("x"); kept[0].flush()\n'),
    )
    site.machine.succeed("docker volume create data")
    site.machine.succeed(f"printf abcdef >{VOLUME}/open")
    for name in ("holder", "second"):
        site.run(name, "python3 /both.py /data/open", "-v data:/data -v /root/both.py:/both.py:ro")
        site.wait_for(lambda name=name: _count(site, name) > 3)  # type: ignore[misc]
    before = {name: _token(site, name) for name in ("holder", "second")}
    site.restart_docker()
    for name, token in before.items():
        assert site.outcome(name) == "resumed", site.reason(name)
        assert _token(site, name) == token
