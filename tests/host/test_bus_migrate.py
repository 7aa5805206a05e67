"""Migrate over the bus: the lines of the documentation, what is refused, and a worker that ends meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from guardian.faces.bus_interface import JOB, NAME, PROPERTIES, ROOT
from tests.host.lab import SSH_CONFIGURATION, Lab
from tests.host.site import Site
from tests.host.test_migrate import nothing_left

CALL = f"busctl -- call {NAME} {ROOT} {NAME} Migrate 'assa{{sv}}'"


def job_of(site: Site, containers: str, host: str, options: str = "0") -> dict[str, Any]:
    """What became of a Migrate over the bus, as the properties of its job."""
    return ended(site, site.machine.succeed(f"{CALL} {containers} {host} {options}").split('"')[1])


def ended(site: Site, path: str) -> dict[str, Any]:
    site.machine.wait_until_succeeds(
        f"busctl get-property {NAME} {path} {JOB} State | grep finished", timeout=240
    )
    told = site.machine.succeed(f"busctl call -j {NAME} {path} {PROPERTIES} GetAll s {JOB}")
    found = {key: item["data"] for key, item in json.loads(told)["data"][0].items()}
    found["Results"] = [{key: item["data"] for key, item in each.items()} for each in found["Results"]]
    return found


def test_over_the_bus(lab: Lab) -> None:
    """The line of docs/dbus.md, a look before it and the way back."""
    before = lab.one.redis("redis", guarded=False)
    lab.one.machine.succeed("ssh two true; systemctl stop guardiand.service")

    look = job_of(lab.one, "1 redis", "two", "1 check b true")
    assert (look["Result"], look["Results"], look["LastLine"]) == ("done", [], "two can take redis")
    assert lab.one.seen_in("redis") == before

    page = (Path(__file__).resolve().parents[2] / "docs" / "dbus.md").read_text()
    (line,) = (line[2:] for line in page.splitlines() if line.startswith("# ") and " Migrate " in line)
    job = ended(lab.one, lab.one.machine.succeed(line).split('"')[1])
    assert (job["Kind"], job["Result"], job["Error"]) == ("migrate", "done", ["", ""])
    assert [(item["name"], item["outcome"]) for item in job["Results"]] == [("redis", "resumed")]
    assert "standing still" in job["Progress"]
    assert lab.two.seen_in("redis") == before
    assert lab.one.inspect("redis", "{{.State.Running}}") == "false"

    back = job_of(lab.two, "1 redis", "one")
    assert [item["outcome"] for item in back["Results"]] == ["resumed"], back
    assert lab.one.seen_in("redis") == before


def test_over_the_bus_nothing_is_asked_and_hosts_are_no_options(lab: Lab) -> None:
    before = lab.one.redis("redis", guarded=False)
    for arguments, said in (
        ("1 nope two 0", "there is no container 'nope'"),
        ("1 redis -oProxyCommand=x 0", "is no host"),
        ("1 redis 'two;reboot' 0", "is no host"),
        ("0 two 0", "no container is named"),
        ("1 redis two 1 sudo b true", "it takes check (b)"),
        ("1 redis two 1 limit d nan", "it must be above 0"),
    ):
        assert said in lab.one.machine.fail(f"{CALL} {arguments} 2>&1")
    lab.one.machine.succeed(
        "sed -i 's/accept-new/ask/; /BatchMode/d' /root/.ssh/config; mv /root/.ssh/known_hosts /root/kept || true"
    )
    try:
        job = job_of(lab.one, "1 redis", "two")
    finally:
        lab.one.machine.write("/root/.ssh/config", SSH_CONFIGURATION)
        lab.one.machine.succeed("mv /root/kept /root/.ssh/known_hosts || true")
    assert (job["Result"], job["Results"]) == ("failed", [])
    assert job["Error"] == [f"{NAME}.Error.Failed", "ssh has no connection to two: it has said why"]
    assert "Host key verification failed." in job["Progress"]
    assert lab.one.seen_in("redis") == before
    nothing_left(lab.two)


def test_over_the_bus_a_move_goes_on_without_the_worker_that_began_it(lab: Lab) -> None:
    """What is sent ahead takes long enough: the worker that began is not there any more when it stands still."""
    before = lab.one.redis("redis", "-v data:/data", guarded=False)
    lab.one.machine.succeed(
        "systemctl stop guardiand.service; docker exec redis dd if=/dev/urandom of=/data/big bs=1M count=400"
    )
    was = lab.one.machine.unit_property("guardian-worker.service", "MainPID")
    path = lab.one.machine.succeed(f"{CALL} 1 redis two 0; systemctl restart guardian-worker").split('"')[1]
    assert lab.one.machine.unit_property("guardian-worker.service", "MainPID") != was
    assert lab.one.inspect("redis", "{{.State.Running}}") == "true", "it was too fast for this test"
    job = ended(lab.one, path)
    assert (job["Result"], job["Error"][0]) == ("failed", f"{NAME}.Error.WorkerUnavailable")
    lab.one.wait_for(lambda: lab.one.inspect("redis", "{{.State.Running}}") == "false", timeout=180)
    lab.one.wait_for(lambda: bool(lab.two.machine.succeed("docker ps -q --filter name=redis")), timeout=180)
    assert lab.two.seen_in("redis") == before
    lab.one.machine.wait_until_succeeds("! pgrep -f '[g]uardianctl migrate'")
