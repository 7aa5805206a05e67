"""guardian's own time for one container alone: medians of interleaved runs on one host, nothing else running.

Save: from freeze to kill, minus a bare `runc checkpoint` of the same container without a script, minus syncfs and
fsync. Resume: from `docker start` to running, minus a plain `docker start` and a bare `runc restore` without a script.
The bare runs use the same CRIU configuration without the action script.
"""

from __future__ import annotations

import dataclasses
import json
import statistics

from tests.host.site import REDIS, Site

RUNS = 7
LIMIT = 0.3
"""Seconds allowed for each way."""

BARE = """\
import glob, json, os, shutil, subprocess, sys, time
runc, root, container = "/usr/sbin/runc", "/run/docker/runtime-runc/moby", sys.argv[1]
folder = "/root/bare"
read_end, pipe = os.pipe()  # as containerd's shim gives it: CRIU takes no file that lies outside
flags = ["--tcp-established", "--ext-unix-sk", "--file-locks"]

def configuration(path, lines):
    open(path, "w").write("\\n".join(["skip-in-flight", "link-remap", "network-lock skip", *lines]) + "\\n")
    os.environ["CRIU_CONFIG_FILE"] = path

def timed(argv):
    begun = time.monotonic()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    return time.monotonic() - begun

def images(name):
    shutil.rmtree(folder + "/" + name, ignore_errors=True)
    os.makedirs(folder + "/" + name)
    return ["--image-path", f"{folder}/{name}/img", "--work-path", f"{folder}/{name}/work"]

state = json.load(open(f"{root}/{container}/state.json"))
bundle = [l for l in state["config"]["labels"] if l.startswith("bundle=")][0][7:]
config = json.load(open(bundle + "/config.json"))
pid = state["init_process_pid"]
config["root"]["path"] = folder + "/rootfs"
config.pop("hooks", None)
config["linux"]["cgroupsPath"] = "system.slice:bare:bare"
for n in config["linux"]["namespaces"]:
    if n["type"] == "network":
        n["path"] = "/run/netns/bare"
for m in config["mounts"]:
    if m.get("source", "").startswith("/"):
        os.makedirs(folder, exist_ok=True)
        shutil.copy(m["source"], folder + "/" + os.path.basename(m["source"]))
        m["source"] = folder + "/" + os.path.basename(m["source"])
json.dump(config, open(folder + "/config.json", "w"))

inode = os.stat(f"/proc/{pid}/ns/net").st_ino
configuration(folder + "/dump.conf", [f"external net[{inode}]:extRootNetNS"])
print("dump", timed([runc, "--root", root, "checkpoint", *flags, *images("dump"), container]))

configuration(folder + "/restore.conf", [])
subprocess.run([runc, "--systemd-cgroup", "run", "--detach", "--bundle", folder, "bare"], check=True,
               stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
while b"Ready to accept" not in os.read(read_end, 65536):
    pass
where = images("restore")
subprocess.run([runc, "checkpoint", *flags, *where, "bare"], check=True, stdout=subprocess.DEVNULL)
print("restore", timed([runc, "--systemd-cgroup", "restore", "--detach", *flags, *where, "--bundle", folder, "bare"]))
subprocess.run([runc, "delete", "--force", "bare"], check=True)
"""


@dataclasses.dataclass(frozen=True)
class OwnTime:
    """Medians in seconds; the parts are kept for the table."""

    save: float
    bare_dump: float
    syncing: float
    resume: float
    plain_start: float
    bare_restore: float

    @property
    def own_save(self) -> float:
        """guardian's own part of a save."""
        return self.save - self.bare_dump - self.syncing

    @property
    def own_resume(self) -> float:
        """guardian's own part of a resume."""
        return self.resume - self.plain_start - self.bare_restore

    def table(self) -> str:
        """The figures as people read them."""
        return (
            f"guardian's own time, one redis alone, medians of {RUNS} interleaved runs (limit {LIMIT} s each):\n"
            f"  save    {self.own_save:6.3f} s = freeze to kill {self.save:.3f}"
            f" - bare runc checkpoint {self.bare_dump:.3f} - syncfs and fsync {self.syncing:.3f}\n"
            f"  resume  {self.own_resume:6.3f} s = docker start to running {self.resume:.3f}"
            f" - plain docker start {self.plain_start:.3f} - bare runc restore {self.bare_restore:.3f}"
        )


def measure(site: Site) -> OwnTime:
    """Run everything in turn, RUNS times."""
    machine = site.machine
    machine.write("/root/bare.py", BARE)
    machine.succeed(
        "mkdir -p /root/bare/rootfs; ip netns add bare; ip -n bare link set lo up;"
        "docker create --name image work:1 true; docker export image | tar -x -C /root/bare/rootfs; docker rm image"
    )
    site.run("alone", REDIS)
    found: dict[str, list[float]] = {}
    for _ in range(RUNS):
        for name, seconds in _one_run(site):
            found.setdefault(name, []).append(seconds)
    machine.succeed("docker rm -f alone; ip netns del bare; rm -rf /root/bare")
    return OwnTime(**{name: statistics.median(values) for name, values in found.items()})


def _one_run(site: Site) -> list[tuple[str, float]]:
    machine = site.machine
    machine.wait_until_succeeds("docker exec alone redis-cli ping")
    machine.succeed("guardianctl checkpoint alone")
    folder = f"/var/lib/guardian/store/{site.inspect('alone', '{{.Id}}')}"
    times = json.loads(machine.succeed(f"cat $(ls -d {folder}/*/ | tail -1)times.json"))
    results = json.loads(machine.succeed("guardianctl restore --json alone 2>/dev/null"))["results"]
    machine.wait_until_succeeds("docker exec alone redis-cli ping")
    # In a unit: an entered command's cgroup is outside the host's own tree.
    command = "docker inspect -f '{{.Id}}' alone | xargs python3 /root/bare.py"
    bare = dict(line.split() for line in machine.succeed(command, unit=True).splitlines())
    machine.wait_until_succeeds("[ $(docker inspect -f '{{.State.Running}}' alone) = false ]")
    plain = machine.succeed(
        "s=$(date +%s%N); docker start alone >/dev/null; echo $((($(date +%s%N)-s)/1000))"
    )
    return [
        ("save", times["ended"] - times["frozen"]),
        ("syncing", times["syncing"]),
        ("bare_dump", float(bare["dump"])),
        ("resume", results[0]["seconds"]),
        ("bare_restore", float(bare["restore"])),
        ("plain_start", int(plain) / 1e6),
    ]
