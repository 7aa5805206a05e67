"""A snapshot of a C program as a core file: gdb, outside the host, sees its threads and variables as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.site import Site

_TESTS = Path(__file__).resolve().parents[1]
_GDB = (
    *("info threads", "thread apply all backtrace", "thread 1", "frame function innermost", "print local"),
    *("print *given", "print global", "print/x $mxcsr", "info registers ymm0"),
)
_COMMAND = """\
import argparse, sys
from guardian.faces import cli_coredump
parser = argparse.ArgumentParser()
cli_coredump.add(parser.add_subparsers())
options = parser.parse_args(sys.argv[1:])
sys.exit(options.run(options))
"""


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
    container = site.run("planted", "/planted", "-v /root/planted:/planted:ro")
    site.machine.wait_until_succeeds("docker logs planted | grep ready")
    site.machine.succeed("guardianctl checkpoint --leave-running planted")
    site.machine.succeed(f"tar -C /var/lib/guardian/checkpoints/{container}/*/img -cf /root/img.tar .")
    site.machine.copy_from("/root/img.tar", tmp_path / "img.tar")
    images = tmp_path / "img"
    images.mkdir()
    subprocess.run(["tar", "-C", images, "-xf", tmp_path / "img.tar"], check=True)

    shown = opened(planted, made(images, tmp_path / "core"))

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


def made(images: Path, core: Path) -> Path:
    """`guardianctl coredump`, here."""
    pycriu = subprocess.run(
        [_TESTS / "pycriu.sh"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    environment = {**os.environ, "PYTHONPATH": f"{_TESTS.parent}:{pycriu}"}
    argv = [sys.executable, "-c", _COMMAND, "coredump", str(images), "1", "-o", str(core)]
    subprocess.run(argv, check=True, env=environment, timeout=60)
    return core


def opened(program: Path, core: Path) -> str:
    """What gdb says."""
    commands = [word for command in _GDB for word in ("-ex", command)]
    argv = ["gdb", "-nx", "-batch", *commands, str(program), str(core)]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout
