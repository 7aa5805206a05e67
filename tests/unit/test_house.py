"""The rules of the house: floors, sizes, names, and nothing that ties the tree to one machine."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
FLOORS = ("model", "host", "work", "faces")
RUNTIME = "runtime"
PARTS = (".ci", "guardian", "tests", "docs", "etc", "units", "packaging")
SOURCES = {".py", ".c", ".h", ".sh"}

MOST_LINES = 400
MOST_FUNCTION_LINES = 50
LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with the reason."""
LONG_FUNCTIONS: dict[str, str] = {}
"""Functions ("file:name") that may be longer, each with the reason."""

VAGUE = {"manager", "managers", "helper", "helpers", "util", "utils"}
OUTSIDE = {
    *("asyncio", "datetime", "fcntl", "glob", "io", "locale", "logging", "multiprocessing", "os", "pathlib"),
    *(
        "platform",
        "random",
        "secrets",
        "select",
        "shutil",
        "signal",
        "socket",
        "subprocess",
        "sys",
        "tempfile",
    ),
    *("threading", "time", "uuid"),
}
"""Modules of the standard library through which floor 1 would see I/O, a clock or the environment."""
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
OUTSIDE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}


def files(*suffixes: str) -> list[Path]:
    """The files of the tree with these suffixes, or all of them."""
    found = [path for path in TOP.iterdir() if path.is_file()]
    for part in PARTS:
        found += [
            path for path in (TOP / part).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        ]
    return sorted(path for path in found if not suffixes or path.suffix in suffixes)


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, by full name."""
    package = path.relative_to(TOP).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def python(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (TOP / folder).rglob("*.py"))


HOUSE = python("guardian")
ALL_PYTHON = python("guardian", "tests", "docs")


@pytest.mark.parametrize("path", HOUSE, ids=name)
def test_imports_point_down(path: Path) -> None:
    parts = path.relative_to(TOP / "guardian").parts
    if len(parts) == 1:
        assert not [each for each in imports(path) if each.startswith("guardian")]
        return
    assert parts[0] in (*FLOORS, RUNTIME), "a new folder is on no floor"
    below = () if parts[0] == RUNTIME else FLOORS[: FLOORS.index(parts[0]) + 1]
    for each in imports(path):
        module = each.split(".")
        if module[0] == "guardian" and len(module) > 1 and module[1] != "__version__":
            assert module[1] in below, f"{each} is not below"
        if module[0] == "tests":
            pytest.fail(f"{each} is a test's")


@pytest.mark.parametrize("path", python("guardian/model", "guardian/runtime"), ids=name)
def test_floor_one_and_the_runtime_need_only_the_standard_library(path: Path) -> None:
    for each in imports(path):
        top = each.split(".")[0]
        assert top == "guardian" or top in sys.stdlib_module_names, f"{each} is not in the standard library"


@pytest.mark.parametrize("path", python("guardian/model"), ids=name)
def test_floor_one_sees_no_outside(path: Path) -> None:
    assert not {each.split(".")[0] for each in imports(path)} & OUTSIDE
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & OUTSIDE_CALLS


def test_no_file_is_too_long() -> None:
    long = {name(path) for path in files(*SOURCES) if len(path.read_text().splitlines()) > MOST_LINES}
    assert long == set(LONG_FILES)


def test_no_function_is_too_long() -> None:
    long = {
        f"{name(path)}:{node.name}"
        for path in ALL_PYTHON
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert long == set(LONG_FUNCTIONS)


def words(identifier: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}


def test_names_say_something() -> None:
    vague = {name(path) for path in files(*SOURCES) if words(path.stem) & VAGUE}
    for path in ALL_PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, DEFINITIONS) and words(node.name) & VAGUE:
                vague.add(f"{name(path)}:{node.name}")
    assert vague == set()


def test_no_path_of_one_machine() -> None:
    here = re.compile(r"(?<![\w.})$*/-])/" + "work/")
    assert [name(path) for path in files() if here.search(path.read_text(errors="replace"))] == []


def test_no_registrys_or_mirrors_name() -> None:
    hosts = [
        f"{host}.{domain}"
        for domain, hosts in {
            "debian.org": ("deb", "ftp", "security", "snapshot"),
            "pypi.org": ("files", "www"),
            "pythonhosted.org": ("files",),
            "npmjs.org": ("registry",),
            "docker.io": ("registry-1", "index"),
        }.items()
        for host in hosts
    ]
    found = [name(path) for path in files() for host in hosts if host in path.read_text(errors="replace")]
    assert found == []
