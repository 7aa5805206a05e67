"""docs/comparison.md, line by line: what checkpointctl and crit show of a snapshot, guardianctl shows the same."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.comparison.fields import FIELDS, find
from tests.comparison.told import Field, Told
from tests.host import telling
from tests.host.site import Site

COMPARED = [field for field in FIELDS if field.theirs is not None]
_PID = ("core", "mm", "fs", "ids", "pagemap")


@pytest.fixture(scope="module")
def told(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Told:
    shared_site.clean()
    return telling.told(shared_site, tmp_path_factory.mktemp("told"))


@pytest.mark.parametrize("field", COMPARED, ids=lambda field: f"{field.of}: {field.name}")
def test_the_same_value(told: Told, field: Field) -> None:
    assert field.theirs is not None
    assert field.ours is not None
    if field.reads_pages and not counts_pages(told):
        assert os.environ.get("HOST", "").startswith("trixie"), "crit sees no pages"
        pytest.xfail("this crit is older than the CRIU that wrote the images, and sees no pages")
    theirs = field.theirs(told)
    assert theirs or field.may_be_empty, "nothing was compared"
    assert field.ours(told) == theirs


def counts_pages(told: Told) -> bool:
    """Whether crit knows how this CRIU counts pages."""
    return any(entry.get("nr_pages") or entry.get("compat_nr_pages") for entry in told.image("pagemap-1.img"))


def leaves(value: object, path: str = "") -> Iterator[str]:
    """The dotted names of what nested tables hold; what is in a list is named like the list."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for inner in value:
            yield from leaves(inner, path)
    elif path and value not in ({}, []):
        yield path


def test_every_field_of_checkpointctl_is_in_the_table(told: Told) -> None:
    names = {
        re.sub(
            r"environment_variables\..*",
            "environment_variables",
            name.replace("process_tree.children", "process_tree"),
        )
        for name in leaves(told.described)
    }
    names = {re.sub(r"(\.children)+\b", "", name) for name in names}
    assert sorted(name for name in names if find("checkpointctl inspect --all", name) is None) == []
    assert sorted(name for name in told.show if find("checkpointctl show", name) is None) == []


def image_kind(name: str) -> str:
    """An image's name with a word for the number in it."""
    if name.startswith("tcp-stream-"):
        return "tcp-stream-INODE.img"
    stem, _, rest = name.partition("-")
    return f"{stem}-{'PID' if stem in _PID else 'ID'}.img" if rest[:1].isdigit() else name


def test_every_field_of_the_images_is_in_the_table(told: Told) -> None:
    missing = set()
    for image, entries in told.images.items():
        of = f"crit decode {image_kind(image)}"
        if image == "cgroup.img":
            continue  # only looked up
        missing |= {f"{of}: {name}" for name in leaves(entries) if find(of, name) is None}
    assert sorted(missing) == []
