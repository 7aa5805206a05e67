"""`make bench-migrate`: a container of 1 GiB that does not compress, to another host and there at work.

In one run, in turn: guardianctl migrate; the floor (the same bytes by ssh into a file) and a raw dump and restore by
runc; podman's export, ssh, import; `docker save`, ssh, load and a cold start. Exit status 0 only if the bars are kept:
at most 1.1 times floor and raw dump and raw restore, at least twice as fast as podman.
"""

from __future__ import annotations

import functools
import io
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench.__main__ import Line
from tests.demo.own_time import BARE
from tests.host import lab
from tests.host.lab import Lab
from tests.machines.errors import MachineError

_REPOSITORY = Path(__file__).resolve().parents[2]
SUITE = "forky+podman"
ROUNDS = 5
MEBIBYTES = 1024
OVERHEAD = 1.1
TWICE = 0.5
PROGRAM = f"""\
import os, sys, time
held = [os.urandom(1 << 20) for _ in range({MEBIBYTES})]
print("Ready to accept", flush=True)
while True:
    time.sleep(1)
"""
_COMMAND = "python3 -u /hold.py"
_RUN = f"-v /root/hold.py:/hold.py:ro docker.io/library/work:1 {_COMMAND}"


def _start(the: Lab, engine: str) -> None:
    """A fresh container, its memory full."""
    # Container hosts have no controller for pids. A unit would wait a minute and a half for podman's conmon.
    options = "--runtime /usr/sbin/runc --network none --pids-limit 0" if engine == "podman" else ""
    the.one.machine.succeed(f"{engine} run -d --name big {options} {_RUN}")
    the.one.machine.wait_until_succeeds(f"{engine} logs big | grep -q Ready")


def _away(the: Lab) -> None:
    for site in (the.one, the.two):
        site.machine.succeed(
            "docker rm -f big; podman rm -f big; rm -f /root/big.tar /root/floor; sync", timeout=120
        )


def _seconds(the: Lab, command: str) -> float:
    """How long a command takes on the first host."""
    _fill_memory(the)
    script = (
        f"s=$(date +%s%N); {{ {command}; }} >/dev/null 2>&1 || exit 1; echo $((($(date +%s%N)-s)/1000000))"
    )
    return int(the.one.machine.succeed(script, timeout=300).split()[-1]) / 1000


def _fill_memory(the: Lab) -> None:
    """Fill the page cache, so that all memory that is asked for is such as was in use before.

    A virtual machine gives free memory back to its host: a GiB that is touched the first time took 2.6 s here instead
    of 0.5, and whatever happens to touch more of it would be measured by that. The programs are read again.
    """
    buffer = bytearray(1 << 20)
    holes = _holes()
    holes.seek(0)
    while holes.readinto(buffer):
        pass
    for site in (the.one, the.two):
        site.machine.succeed(
            "find /usr/bin /usr/sbin /usr/lib/python3* /usr/lib/docker-guardian /usr/lib/*-linux-gnu -type f -print0 |"
            " xargs -0 cat >/dev/null"
        )


@functools.cache
def _holes() -> io.FileIO:
    """A file of four fifths of the memory, and nothing on the disk."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemTotal"))
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 for as long as this process lives
    file.truncate(total * 4 // 5)
    return file


def _ours(the: Lab) -> Mapping[str, float]:
    _start(the, "docker")
    try:
        total = _seconds(the, "guardianctl migrate --json big two >/root/told 2>/root/why")
    except MachineError:
        print(the.one.machine.read("/root/told"), the.one.machine.read("/root/why"), the.told(), flush=True)
        raise
    told = json.loads(the.one.machine.read("/root/told"))
    assert [result["outcome"] for result in told["results"]] == ["resumed"], told
    the.two.machine.succeed("docker top big | grep -q hold.py")
    return {"ours": total, "ours downtime": told["downtime"]}


def _floor(the: Lab) -> Mapping[str, float]:
    the.one.machine.succeed(f"head -c {MEBIBYTES}M /dev/urandom >/root/floor")
    return {"floor": _seconds(the, "ssh two 'cat >/root/floor' </root/floor")}


def _raw(the: Lab) -> Mapping[str, float]:
    _start(the, "docker")
    _fill_memory(the)
    command = "docker inspect -f '{{.Id}}' big | xargs python3 /root/bare.py"
    told = the.one.machine.succeed(command, timeout=300, unit=True)
    found = dict(line.split() for line in told.splitlines())
    return {"raw dump": float(found["dump"]), "raw restore": float(found["restore"])}


def _podman(the: Lab) -> Mapping[str, float]:
    _start(the, "podman")
    total = _seconds(
        the,
        "podman container checkpoint --export /root/big.tar --compress none big"
        " && ssh two 'cat >/root/big.tar' </root/big.tar"
        " && ssh two podman container restore --runtime /usr/sbin/runc --import /root/big.tar",
    )
    the.two.machine.succeed("podman top big | grep -q hold.py")
    return {"podman": total}


def _cold(the: Lab) -> Mapping[str, float]:
    begin = f"docker run -d --name big {_RUN} && until docker logs big | grep -q Ready; do sleep 0.05; done"
    return {
        "save, load, cold start": _seconds(
            the, f"docker save work:1 | ssh two docker load && ssh two '{begin}'"
        )
    }


_PARTS: tuple[Callable[[Lab], Mapping[str, float]], ...] = (_ours, _floor, _raw, _podman, _cold)


def _prepare(the: Lab) -> None:
    for site in (the.one, the.two):
        site.machine.write("/root/hold.py", PROGRAM)
        site.machine.succeed("docker save work:1 | podman load", timeout=120)
    the.one.machine.write("/root/bare.py", BARE)
    the.one.machine.succeed(
        "mkdir -p /root/bare/rootfs; ip netns add bare; ip -n bare link set lo up;"
        "docker create --name image work:1 true; docker export image | tar -x -C /root/bare/rootfs; docker rm image"
    )


def measure(the: Lab) -> list[Line]:
    """All of them in turn, ROUNDS times; medians."""
    _prepare(the)
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS + 1):
        for part in _PARTS:
            for name, seconds in part(the).items():
                # The first round is for caches of all kinds.
                if number:
                    found.setdefault(name, []).append(seconds)
                print(f"  {name:24} {seconds:7.2f} s", flush=True)
            _away(the)
    at = {name: statistics.median(values) for name, values in found.items()}
    least = at["floor"] + at["raw dump"] + at["raw restore"]
    parts = f"{at['floor']:.2f} + {at['raw dump']:.2f} + {at['raw restore']:.2f}"
    size = f"{MEBIBYTES} MiB, medians of {ROUNDS} in turn"
    return [
        Line(
            "migrate, of floor + raw dump + raw restore",
            at["ours"] / least,
            OVERHEAD,
            "x",
            f"{at['ours']:.2f} s against {parts}, {size}",
        ),
        Line(
            "migrate, of podman's", at["ours"] / at["podman"], TWICE, "x", f"{at['podman']:.2f} s by podman"
        ),
        Line(
            "its standstill, of podman's",
            at["ours downtime"] / at["podman"],
            TWICE,
            "x",
            f"{at['ours downtime']:.2f} s",
        ),
        Line(
            "migrate, of save, load and a cold start",
            at["ours"] / at["save, load, cold start"],
            float("inf"),
            "x",
            f"{at['save, load, cold start']:.2f} s, and nothing of the memory",
        ),
    ]


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [_REPOSITORY / "packaging" / "build.sh", folder], check=True, stdout=subprocess.DEVNULL
        )
        with lab.opened(next(Path(folder).glob("*.deb")), (SUITE, SUITE)) as the:
            lines = measure(the)
    print(f"{'':44} {'value':>8} {'':4} {'bar':>8}   verdict")
    for line in lines:
        print(line)
    return 0 if all(line.kept for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
