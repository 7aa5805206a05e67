"""Real work that moves there and back: a large redis, a database under load, between engines of two majors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.results import commit
from tests.host.lab import Lab, opened
from tests.host.site import Site
from tests.host.test_migrate import COMPOSE, TALKER, seen
from tests.host.test_terminal import typed
from tests.machines import recipes, roots
from tests.machines.recipes import known_suites

SUITES = {"new": (known_suites()[0], known_suites()[0]), "old and new": tuple(reversed(known_suites()))}
GIBIBYTE = "debug populate 1000000 k 1000"
TALKERS = ("shop-app-1", "shop-front-1")
_DATA = "/var/lib/postgresql/data"
_SERVER = f"""\
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
chown postgres {_DATA}
runuser -u postgres -- $bin/initdb -D {_DATA} >/dev/null
echo "host all all all trust" >>{_DATA}/pg_hba.conf
exec setpriv --reuid postgres --regid postgres --clear-groups $bin/postgres -D {_DATA} \
    -c listen_addresses='*' -c unix_socket_directories=/tmp
"""
_LOAD = """\
until pgbench -h db -U postgres -i -q postgres; do sleep 0.2; done
echo begins
exec pgbench -h db -U postgres -c 4 -T 90 postgres
"""


_STANDSTILLS: dict[str, list[tuple[float, int]]] = {}
"""What moved: seconds of standstill and MiB of each move."""
_TABLE = Path(__file__).resolve().parents[2] / "dist" / "migrate-workloads.md"


@pytest.fixture(scope="module", params=SUITES)
def lab(package: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two hosts: of one engine, and of two majors. What stood still how long is added to dist/migrate-workloads.md."""
    one, two = SUITES[request.param]
    _STANDSTILLS.clear()
    with opened(package, (one, two)) as found:
        yield found
    _TABLE.parent.mkdir(exist_ok=True)
    with _TABLE.open("a") as file:
        for what, moves in _STANDSTILLS.items():
            shown = ", ".join(f"{seconds:.1f} s ({mebibytes} MiB)" for seconds, mebibytes in moves)
            file.write(f"{commit()}, {request.param}: {what}: {shown}\n")


@pytest.fixture(autouse=True)
def _clean(lab: Lab, request: pytest.FixtureRequest) -> Iterator[None]:
    lab.clean()
    yield
    report = getattr(request.node, "report_of_call", None)
    if report is not None and report.failed:
        print(lab.told())


def migrated(site: Site, arguments: str) -> dict[str, Any]:
    """`guardianctl migrate --json`."""
    found: dict[str, Any] = json.loads(
        site.machine.succeed(f"guardianctl migrate --json {arguments}", timeout=300)
    )
    assert {result["outcome"] for result in found["results"]} == {"resumed"}, found
    _STANDSTILLS.setdefault(arguments.rpartition(" ")[0], []).append(
        (found["downtime"], found["bytes"] >> 20)
    )
    return found


def _ways(lab: Lab) -> Iterator[tuple[Site, Site, str]]:
    """There and back, three times."""
    for _ in range(3):
        yield lab.one, lab.two, "two"
        yield lab.two, lab.one, "one"


def test_a_redis_of_a_gibibyte(lab: Lab) -> None:
    lab.one.redis("redis", guarded=False)
    lab.one.machine.succeed(f"docker exec redis redis-cli {GIBIBYTE}", timeout=120)
    digest = lab.one.machine.succeed("docker exec redis redis-cli debug digest", timeout=120)
    before = lab.one.seen_in("redis")
    for here, there, name in _ways(lab):
        migrated(here, f"redis {name}")
        assert there.seen_in("redis") == before
    assert lab.one.machine.succeed("docker exec redis redis-cli debug digest", timeout=120) == digest


def test_a_database_under_load_loses_nothing(lab: Lab) -> None:
    tar = roots.image_tar(recipes.database_image())
    for site in (lab.one, lab.two):
        site.machine.write("/root/server.sh", _SERVER)
        site.machine.write("/root/load.sh", _LOAD)
    lab.one.machine.copy_to(tar, "/root/database.tar")
    lab.one.machine.succeed(
        "docker import /root/database.tar database:1 && rm /root/database.tar", timeout=180
    )
    lab.one.machine.succeed("docker network create shop")
    run = "docker run -d --network shop --shm-size 256m"
    lab.one.machine.succeed(
        f"{run} --name db -v pg:{_DATA} -v /root/server.sh:/server.sh:ro database:1 sh /server.sh"
    )
    lab.one.machine.succeed(f"{run} --name load -v /root/load.sh:/load.sh:ro database:1 sh /load.sh")
    lab.one.machine.wait_until_succeeds("docker logs load | grep -q begins", timeout=120)
    for here, _there, name in _ways(lab):
        migrated(here, f"db load {name}")
    running = "docker inspect -f '{{.State.Running}}' load"
    assert lab.one.machine.succeed(running).strip() == "true", "the load outlasted every move"
    lab.one.machine.wait_until_succeeds(f"[ $({running}) = false ]", timeout=180)
    # What it said before the moves lies with the engine that it said it to.
    said = lab.one.machine.succeed("docker logs load 2>&1")
    done = int(re.findall(r"transactions actually processed: (\d+)", said)[0])
    assert re.findall(r"number of failed transactions: (\d+)", said)[0] == "0"
    query = "select count(*), (select sum(abalance) from pgbench_accounts) = sum(delta) from pgbench_history"
    shown = lab.one.machine.succeed(f'docker exec db psql -h /tmp -U postgres -Atc "{query}" postgres')
    assert shown.strip() == f"{done}|t"


def test_a_compose_project(lab: Lab) -> None:
    for site in (lab.one, lab.two):
        site.machine.write("/root/talker.py", TALKER)
    lab.one.machine.write("/root/shop/compose.yaml", COMPOSE)
    lab.one.machine.succeed("cd /root/shop && docker compose up -d", timeout=120)
    for name in TALKERS:
        lab.one.machine.wait_until_succeeds(f"docker exec {name} test -s /seen")
    for here, there, name in _ways(lab):
        migrated(here, f"--compose shop {name}")
        for talker in TALKERS:
            done, _ = seen(there, talker)
            there.wait_for(lambda there=there, talker=talker, done=done: seen(there, talker)[0] > done + 5)  # type: ignore[misc]
            assert seen(there, talker)[1] == 1, "the connection between the members went on"


def test_a_terminal(lab: Lab) -> None:
    lab.one.run("shell", "bash --norc -i", "-it", guarded=False)
    typed(lab.one, "shell", "X=remember$((6*7))\\n")
    for here, _, name in _ways(lab):
        migrated(here, f"shell {name}")
    assert "remember42" in typed(lab.one, "shell", "echo $X\\n")


def test_what_is_older_there_is_refused(lab: Lab) -> None:
    """CRIU on both hosts is the same here: an older one is made believe."""
    before = lab.one.redis("redis", guarded=False)
    lab.two.machine.succeed(
        "mv /usr/sbin/criu /usr/sbin/criu.real; printf '#!/bin/sh\\n"
        '[ "$1" = --version ] && exec echo Version: 3.19\\nexec /usr/sbin/criu.real "$@"\\n\' >/usr/sbin/criu;'
        "chmod +x /usr/sbin/criu"
    )
    try:
        status, said = lab.one.machine.execute("guardianctl migrate redis two 2>&1")
    finally:
        lab.two.machine.succeed("mv /usr/sbin/criu.real /usr/sbin/criu")
    assert status == 4
    assert "an older one does not read a newer one's images" in said
    assert lab.one.seen_in("redis") == before
