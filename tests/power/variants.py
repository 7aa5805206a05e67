"""Guardians that are known to be wrong: the tests must find that. Made of copies, never of a switch in the product."""

from __future__ import annotations

import enum
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_COPIED = ("guardian", "units", "etc", "packaging", "docs")
_BUILD_LIMIT = 300

_SYNC = """\
        for path in sorted(writable):
            run(["sync", "--file-system", path], limit=self._host.config.sync_timeout)
        # In a child of its own"""
_SPENT = """\
	if (mark_durable(dir, ledger, "spent") < 0) {
		say("cannot write the ledger");
		return 1;
	}
"""
_NOT_FLUSHED = (
    'mark_durable(dir, ledger, "spent") < 0',
    'join_path(verdict, ledger, "spent") < 0 || close(open(verdict, O_WRONLY | O_CREAT, 0600)) < 0',
)
_IMAGE_SYNC = """\
        for files in _portions([*image.iterdir(), image]):
            run(["sync", *files], limit=self._host.config.sync_timeout)
"""


class Variant(enum.Enum):
    """Which guardian; the others lack one thing each."""

    TRUE = "guardian as it is"
    WITHOUT_SPENT = "`spent` left out"
    SPENT_NOT_FLUSHED = "`spent` written and not flushed"
    WITHOUT_IMAGE_SYNC = "fsync of the image left out"
    WITHOUT_SYNC = "`syncfs` left out"


_LEFT_OUT = {
    Variant.WITHOUT_SPENT: ("guardian/runtime/commit.c", _SPENT, ""),
    Variant.SPENT_NOT_FLUSHED: ("guardian/runtime/commit.c", _SPENT, _SPENT.replace(*_NOT_FLUSHED)),
    Variant.WITHOUT_IMAGE_SYNC: ("guardian/work/member.py", _IMAGE_SYNC, "        del image\n"),
    Variant.WITHOUT_SYNC: ("guardian/work/member.py", _SYNC, "        # In a child of its own"),
}


def commit() -> str:
    """The checkout's commit, and whether it was changed."""
    said = subprocess.run(
        ["git", "-C", REPOSITORY, "describe", "--always", "--dirty", "--abbrev=10"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return said.stdout.strip()


def source(variant: Variant, folder: Path) -> Path:
    """The folder with the variant's source; made in `folder` where it is not the checkout."""
    if variant is Variant.TRUE:
        return REPOSITORY
    for name in _COPIED:
        shutil.copytree(REPOSITORY / name, folder / name, symlinks=True)
    shutil.copy(REPOSITORY / "README.md", folder)
    name, before, after = _LEFT_OUT[variant]
    text = (folder / name).read_text()
    assert text.count(before) == 1, f"{name} is not what was to be changed"
    (folder / name).write_text(text.replace(before, after))
    return folder


def package(made_of: Path, folder: Path) -> Path:
    """The package of a source."""
    subprocess.run(
        [made_of / "packaging" / "build.sh", folder],
        check=True,
        timeout=_BUILD_LIMIT,
        stdout=subprocess.DEVNULL,
    )
    return next(folder.glob("*.deb"))
