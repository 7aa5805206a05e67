"""The man page has every command and every option of guardianctl, and every unit that is shipped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

_TOP = Path(__file__).resolve().parents[2]
_PAGE = (_TOP / "docs" / "man" / "guardianctl.8").read_text().replace("\\-", "-")

# In a process of its own: what systemd's and CRIU's libraries are imported for is made up, and stays there.
_OPTIONS = """
import argparse, json, sys
from unittest.mock import MagicMock
for name in ("pystemd", "pystemd.dbuslib", "pycriu", "pycriu.images"):
    sys.modules[name] = MagicMock()
from guardian.faces import cli

def walk(name, parser):
    nested = [item for item in parser._actions if isinstance(item, argparse._SubParsersAction)]
    if not nested:
        actions = [item for item in parser._actions if item.help != argparse.SUPPRESS]
        yield name, [word for item in actions for word in item.option_strings]
    for item in nested:
        for verb, made in item.choices.items():
            yield from walk(f"{name} {verb}".strip(), made)

print(json.dumps(dict(walk("", cli._parser("")))))
"""
_SAID_ONCE = {"-h", "--help", "--json"}
"""Options of all commands, of which the page says it once, or that explain themselves."""


def _commands() -> dict[str, list[str]]:
    told = subprocess.run([sys.executable, "-c", _OPTIONS], cwd=_TOP, check=True, stdout=subprocess.PIPE)
    found: dict[str, list[str]] = json.loads(told.stdout)
    return found


def _entries() -> dict[str, str]:
    """The text of each command, by its name; a command may have several."""
    found: dict[str, str] = {}
    part = _PAGE.partition(".SH COMMANDS\n")[2].partition("\n.SH ")[0]
    for entry in part.split(".TP\n")[1:]:
        named = re.match(r'\.BR? (?:"([^"]+)"|(\S+))', entry)
        assert named, entry
        name = named[1] or named[2]
        found[name] = found.get(name, "") + entry
    return found


def test_every_command_and_option_is_there() -> None:
    entries, commands = _entries(), _commands()
    assert len(commands) > 20
    assert sorted(entries) == sorted(commands)
    missing = [
        f"{name} {option}"
        for name, options in commands.items()
        for option in options
        if option not in _SAID_ONCE and not re.search(rf"(?<![\w-]){option}(?![\w-])", entries[name])
    ]
    assert missing == []
    assert "Most take\n.BR --json" in _PAGE


def test_no_option_is_there_that_is_none() -> None:
    commands = _commands()
    for name, entry in _entries().items():
        shown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", entry))
        assert shown <= set(commands[name]), name


@pytest.mark.parametrize("unit", sorted(path.name for path in (_TOP / "units").glob("guardian*.service")))
def test_every_unit_is_there(unit: str) -> None:
    assert unit in _PAGE.partition(".SH UNITS\n")[2]
