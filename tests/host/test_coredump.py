"""A snapshot of a C program as a core file: gdb, outside the host, sees its threads and variables as they were."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.host.site import Site

_TESTS = Path(__file__).resolve().parents[1]
_GDB = (
    *("info threads", "thread apply all backtrace", "thread 1", "frame function innermost", "print local"),
    *("print *given", "print global", "print/x $mxcsr", "info registers ymm0"),
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """planted.c, static, with what gdb wants to know."""
    needed = ("gcc=gcc libc6-dev", "gdb=gdb")
    subprocess.run([_TESTS / "need.sh", *needed], check=True, timeout=900)
    program = tmp_path_factory.mktemp("planted") / "planted"
    source = _TESTS / "programs" / "planted.c"
    flags = ("-g", "-O0", "-static", "-pthread")
    subprocess.run(["gcc", *flags, "-o", program, source], check=True, timeout=120)
    return program


def test_gdb_opens_a_core_of_a_snapshot(site: Site, planted: Path, tmp_path: Path) -> None:
    site.machine.copy_to(planted, "/root/planted")
    site.machine.succeed("chmod +x /root/planted")
    site.run("planted", "/planted", "-v /root/planted:/planted:ro")
    site.machine.wait_until_succeeds("docker logs planted | grep ready")
    site.machine.succeed("guardianctl snapshot planted && guardianctl coredump planted@1 1 -o /root/core")
    assert site.machine.succeed("stat -c %a /root/core").strip() == "600"
    site.machine.copy_from("/root/core", tmp_path / "core")

    shown = opened(planted, tmp_path / "core")

    assert shown.count("innermost (given=") >= 2
    assert "middle (depth=100)" in shown
    assert "middle (depth=7)" in shown
    assert "in_thread (" in shown
    assert "main () at" in shown
    assert 'number = 4718, text = "local text"' in shown
    assert shown.count('number = 4711, text = "global text"') == 2
    threads = [line for line in shown.splitlines() if "(LWP " in line and "Thread" in line]
    assert len({line.partition("(LWP ")[2].partition(")")[0] for line in threads}) == 2
    assert "ymm0" in shown
    assert "No stack" not in shown


def opened(program: Path, core: Path) -> str:
    """What gdb says."""
    commands = [word for command in _GDB for word in ("-ex", command)]
    argv = ["gdb", "-nx", "-batch", *commands, str(program), str(core)]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout
