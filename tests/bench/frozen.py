"""How long a snapshot freezes its container, next to a raw dump of the same container that leaves it running."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.__main__ import Line
from tests.host.site import Site
from tests.machines import ContainerHost

_REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 7
BAR = 0.25
"""Seconds that a snapshot may freeze longer: for sockets written down, the network locked, the layer copied."""

_RAW = """\
set -e
root=/run/docker/runtime-runc/moby; state=$root/$1/state.json; folder=/root/raw
pid=$(python3 -c "import json; print(json.load(open('$state'))['init_process_pid'])")
rm -rf $folder; mkdir -p $folder
printf 'skip-in-flight\\nlink-remap\\nnetwork-lock skip\\nexternal net[%s]:extRootNetNS\\n' \
    $(stat -Lc %i /proc/$pid/ns/net) >$folder/raw.conf
CRIU_CONFIG_FILE=$folder/raw.conf /usr/sbin/runc --root $root checkpoint --leave-running --tcp-established \
    --ext-unix-sk --file-locks --image-path $folder/img --work-path $folder/work $1 >/dev/null
crit decode -i $folder/work/stats-dump
"""


def frozen(site: Site) -> Iterator[Line]:
    """Both in turn, on a redis with 100 MiB."""
    site.run("redis", "redis-server --save '' --enable-debug-command yes")
    site.machine.wait_until_succeeds("docker exec redis redis-cli debug populate 700000 key 100")
    container_id = site.inspect("redis", "{{.Id}}")
    site.machine.write("/root/raw.sh", _RAW)
    ours, raw, size = [], [], 0
    for number in range(ROUNDS + 1):
        told = json.loads(site.machine.succeed("guardianctl snapshot redis --json 2>/dev/null"))["results"][0]
        decoded = json.loads(site.machine.succeed(f"sh /root/raw.sh {container_id}", unit=True))
        listed = json.loads(site.machine.succeed("guardianctl checkpoints --json"))
        size = listed[-1]["size"]
        site.machine.succeed(f"guardianctl remove {told['checkpoint']}")
        if number:
            ours.append(told["seconds"])
            raw.append(decoded["entries"][0]["dump"]["frozen_time"] / 1e6)
    mine, its = statistics.median(ours), statistics.median(raw)
    note = f"{mine:.3f} s against {its:.3f} s of a raw dump, {size >> 20} MiB, medians of {ROUNDS} in turn"
    yield Line("a snapshot freezes longer than a raw dump by", mine - its, BAR, "s", note)


@contextlib.contextmanager
def host_with_guardian() -> Iterator[Site]:
    """A host made for a measurement."""
    with tempfile.TemporaryDirectory() as folder, ContainerHost("forky") as host:
        subprocess.run(
            [_REPOSITORY / "packaging" / "build.sh", folder],
            check=True,
            timeout=300,
            stdout=subprocess.DEVNULL,
        )
        site = Site(host)
        site.install(next(Path(folder).glob("*.deb")))
        yield site
