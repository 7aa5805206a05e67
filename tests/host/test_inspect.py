"""What `inspect` says of a planted program, against what the kernel said of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.host.outside import PROGRAMS
from tests.host.site import Site


def plant(site: Site) -> dict[str, Any]:
    """Start tests/programs/planted.py; what it says of itself."""
    site.machine.copy_to(PROGRAMS / "planted.py", "/root/planted.py")
    options = "-e DB_PASSWORD=hunter2 -e PLAIN=visible -v /root/planted.py:/planted.py:ro --hostname planted"
    site.run("planted", "python3 -u /planted.py /tmp --token=hunter3", options, guarded=False)
    site.machine.wait_until_succeeds("docker exec planted test -e /tmp/ready")
    found: dict[str, Any] = json.loads(site.machine.succeed("docker exec planted cat /tmp/ready"))
    return found


@pytest.fixture
def planted(site: Site) -> dict[str, Any]:
    return plant(site)


def inspected(site: Site, subject: str = "planted", *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        site.machine.succeed(f"guardianctl inspect --json {' '.join(options)} {subject} 2>/dev/null")
    )
    return found


def proc(site: Site, pid: int, file: str) -> str:
    """A file of /proc of a process of the container's, by its number inside."""
    return site.machine.succeed(f"docker exec planted cat /proc/{pid}/{file}")


def test_processes_and_threads(site: Site, planted: dict[str, Any]) -> None:
    found = inspected(site)
    main, child = found["processes"]
    assert (found["hostname"], main["pid"], child["pid"]) == ("planted", planted["pid"], planted["child"])
    assert (child["parent"], child["session"], child["name"]) == (main["pid"], child["pid"], "sleep")
    assert child["command_line"] == ["sleep", "1000000"]
    assert [thread["id"] for thread in main["threads"]] == [planted["pid"], *planted["threads"]]
    assert main["name"] == "planted-main"
    assert main["executable"] == site.machine.succeed("docker exec planted readlink /proc/1/exe").strip()
    assert (main["working_directory"], main["root"], main["umask"]) == ("/", "/", 0o22)
    status = dict(line.split(":\t") for line in proc(site, 1, "status").splitlines() if ":\t" in line)
    credentials = main["credentials"]
    ids = [credentials[key] for key in ("uid", "effective_uid", "saved_uid")]
    assert ids == [int(each) for each in status["Uid"].split()[:3]]
    assert credentials["seccomp"] == {"0": "disabled", "2": "filter"}[status["Seccomp"]]
    assert len(credentials["capabilities"]["effective"]) == int(status["CapEff"], 16).bit_count()
    assert main["threads"][0]["blocked"] == ["SIGUSR2"]
    assert main["pending"] == ["SIGUSR2"]
    assert main["handlers"]["SIGPIPE"] == "ignored"
    assert "SIGUSR1" in main["handlers"]
    (timer,) = main["timers"]
    assert (timer["kind"], timer["interval"], 99000 < timer["next"] < 100000) == ("real", 50000.0, True)
    limits = {line[:26].strip(): line[26:].split() for line in proc(site, 1, "limits").splitlines()[1:]}
    assert main["limits"]["nofile"][0] == int(limits["Max open files"][0])


def test_files_sockets_pipes_and_locks(site: Site, planted: dict[str, Any]) -> None:
    found = inspected(site)
    main = found["processes"][0]
    files = {file["descriptor"]: file for file in main["files"]}
    there = site.machine.succeed("docker exec planted ls /proc/1/fd").split()
    assert set(files) == {int(each) for each in there}
    fds = planted["fds"]
    deleted, kept, shm = (files[fds[name]] for name in ("deleted", "kept", "shm"))
    assert (deleted["what"], deleted["deleted"], deleted["size"]) == ("/tmp/deleted", True, 260)
    assert (kept["what"], kept["position"], kept["flags"]) == ("/tmp/kept", 123, ["O_RDWR", "O_APPEND"])
    assert (shm["what"], shm["size"]) == ("/dev/shm/planted", 16)
    for descriptor, file in files.items():
        told = dict(
            line.split(":\t") for line in proc(site, 1, f"fdinfo/{descriptor}").splitlines() if ":\t" in line
        )
        if file["kind"] == "file":
            assert file["position"] == int(told["pos"])
        assert file["close_on_exec"] == bool(int(told["flags"], 8) & 0o2000000)
    sockets = {file["key"]: file["descriptor"] for file in main["files"]}
    by_fd = {sockets[item["key"]]: item for item in found["sockets"] if item["key"] in sockets}
    assert (by_fd[fds["listening"]]["state"], by_fd[fds["listening"]]["local"]) == (
        "listening",
        "127.0.0.1:7001",
    )
    assert by_fd[fds["far"]]["receive_queue"] == 20
    assert by_fd[fds["far"]]["head"] == "nobody has read this"
    assert by_fd[fds["near"]]["peer"] == "127.0.0.1:7001"
    assert (by_fd[fds["named"]]["local"], by_fd[fds["named"]]["backlog"]) == ("/tmp/named.sock", 5)
    assert by_fd[fds["right"]]["head"] == "a datagram waits"
    assert [(pipe["length"], pipe["head"]) for pipe in found["pipes"]] == [(17, "content of a pipe")]
    (lock,) = found["locks"]
    assert (lock["kind"], lock["mode"], lock["descriptor"]) == ("posix", "write", fds["kept"])
    assert (lock["start"], lock["length"]) == (5, 10)


@pytest.mark.usefixtures("planted")
def test_memory_and_mounts(site: Site) -> None:
    found = inspected(site)
    maps: dict[tuple[int, int], tuple[str, str]] = {}
    for line in proc(site, 1, "maps").splitlines():
        span, mode, _, _, _, *rest = line.split(maxsplit=5)
        begin, end = (int(each, 16) for each in span.split("-"))
        maps[begin, end] = (mode, rest[0] if rest else "")
    for item in found["processes"][0]["memory"]:
        if item["kind"] in ("vsyscall", "vvar"):
            continue
        mode, name = maps.get((item["start"], item["end"]), ("", "missing"))
        assert mode == item["protection"], (item, name)
        if item["kind"] == "file":
            assert name == item["name"]
    targets = {mount["target"] for mount in found["mounts"]}
    there = {line.split()[4] for line in proc(site, 1, "mountinfo").splitlines()}
    assert targets == there


@pytest.mark.usefixtures("planted")
def test_secrets_are_masked_unless_asked_for(site: Site) -> None:
    told = site.machine.succeed("guardianctl inspect planted --all 2>&1")
    assert "hunter" not in told
    assert "PLAIN=visible" in told
    assert "DB_PASSWORD=********" in told
    assert inspected(site)["processes"][0]["command_line"][-1] == "--token=********"
    revealed = inspected(site, "planted", "--reveal")["processes"][0]
    assert "DB_PASSWORD=hunter2" in revealed["environment"]
    assert "--reveal" in site.machine.succeed("journalctl -t guardianctl --no-pager")
    assert site.machine.succeed("guardianctl checkpoints") == "", "what was taken to look at is dropped"


def test_a_checkpoint_that_waits_is_looked_into_without_touching_it(site: Site) -> None:
    before = site.redis("web")
    site.machine.succeed("guardianctl checkpoint web")
    for subject in ("web", "web@1"):
        assert "redis-server" in site.machine.succeed(f"guardianctl inspect {subject}")
    site.machine.succeed("guardianctl restore web")
    assert site.seen_in("web") == before


@pytest.mark.parametrize("way", ["snapshot", "checkpoint"])
def test_the_checkpoint_itself(site: Site, way: str) -> None:
    site.redis("web", "-v kept:/kept")
    templates = ("{{.Created}}", "{{.NetworkSettings.IPAddress}}", "{{.NetworkSettings.MacAddress}}")
    created, address, mac = (site.inspect("web", template) for template in templates)
    site.machine.succeed(f"guardianctl {way} web")
    found = inspected(site, "web@1")
    about = found["checkpoint"]
    assert (about["name"], about["container"], about["image"]) == ("web@1", "web", "work:1")
    assert (about["created"], about["runtime"]) == (created, "runc")
    assert (about["addresses"], about["macs"]) == ([address], [mac])
    assert [mount["destination"] for mount in about["mounts"]] == ["/kept"]
    assert about["layer"] > 0
    assert 0 < found["pages"] < found["size"]
    assert found["statistics"]["pages_written"] > 0
    told = site.machine.succeed("guardianctl inspect web@1 --checkpoint")
    assert f"created\t{created}\n" in told
    assert f"addresses\t{address} {mac}\n" in told
    assert "frozen time\t" in told


def test_what_cannot_be_inspected(site: Site) -> None:
    for subject in ("nobody", "nobody@1", "/root/no/such"):
        status, told = site.machine.execute(f"guardianctl inspect {subject} 2>&1")
        assert status == 4
        assert told.startswith("guardianctl: ")
