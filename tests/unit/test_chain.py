"""Images that were written ahead lie in folders of their own, and everything that is done with images reaches them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from guardian.host import chain, erasure, manifest
from guardian.host.checkpoint import Checkpoint
from guardian.host.manifest import Damaged
from guardian.model import steps


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """One whose memory was written ahead twice: pages of 1, 10 and 100 bytes, the last step's first."""
    images = tmp_path / "store" / "id" / "one" / "img"
    for size, folder in ((1, images), (100, images / "pre-1"), (10, images / "pre-2")):
        folder.mkdir(parents=True)
        (folder / "pages-1.img").write_bytes(b"p" * size)
    chain.make_links(images)
    return Checkpoint(images.parent)


def test_each_step_leads_to_the_one_before_it(checkpoint: Checkpoint) -> None:
    images = checkpoint.folder / "img"
    assert chain.links(images) == steps.links(2) == {"parent": "pre-2", "pre-2/parent": "../pre-1"}
    assert (images / "parent" / "parent").resolve() == images / "pre-1"
    assert steps.links(0) == {}


def test_the_size_is_that_of_all_steps(checkpoint: Checkpoint) -> None:
    images = checkpoint.folder / "img"
    links = sum((images / link).lstat().st_size for link in steps.links(2))
    assert checkpoint.image_size() == 111 + links
    checkpoint.drop_images()
    assert checkpoint.image_size() == 0


def test_damage_in_a_step_is_found(checkpoint: Checkpoint) -> None:
    manifest.write(checkpoint, threading.Event())
    assert manifest.verify(checkpoint, below=manifest.IMAGES) == 111
    page = checkpoint.folder / "img" / "pre-1" / "pages-1.img"
    page.write_bytes(b"p" * 99 + b"q")
    with pytest.raises(Damaged, match=r"img/pre-1/pages-1\.img has changed"):
        manifest.verify(checkpoint, below=manifest.IMAGES)
    page.unlink()
    with pytest.raises(Damaged, match=r"img/pre-1/pages-1\.img is missing"):
        manifest.verify(checkpoint)


@pytest.mark.parametrize("link", list(steps.links(2)))
def test_a_link_that_leads_elsewhere_is_found(checkpoint: Checkpoint, link: str) -> None:
    manifest.write(checkpoint, threading.Event())
    place = checkpoint.folder / "img" / link
    place.unlink()
    for target in ("/", "pre-1", "."):
        place.symlink_to(target)
        with pytest.raises(Damaged, match="links"):
            manifest.verify(checkpoint)
        place.unlink()
    with pytest.raises(Damaged, match="links"):
        manifest.verify(checkpoint)


def test_a_link_in_the_place_of_a_file_is_damage(checkpoint: Checkpoint) -> None:
    """Found by make fuzz-images: said of `verify`, not a failure of it."""
    record = checkpoint.folder / "record.json"
    record.write_text("{}")
    manifest.write(checkpoint, threading.Event())
    record.rename(checkpoint.folder / "another.json")
    record.symlink_to("another.json")
    with pytest.raises(Damaged, match=r"record\.json cannot be read"):
        manifest.verify(checkpoint)


def test_a_step_that_is_a_link_is_none(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Nothing is read, hashed or exported through it."""
    images = checkpoint.folder / "img"
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").touch()
    (images / "pre-3").symlink_to(tmp_path / "secret")
    assert [folder.name for folder in chain.folders(images)] == ["img", "pre-1", "pre-2"]
    assert not [name for name, _ in chain.entries(images) if "file" in name]


def test_all_steps_are_overwritten(checkpoint: Checkpoint, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "pages-1.img").write_bytes(b"another's")
    (checkpoint.folder / "img" / "pre-1" / "parent").symlink_to(kept)
    store = checkpoint.folder.parent.parent
    checkpoint.drop_images()
    erasure.erase(store, overwrite=True, stop=threading.Event())
    assert not (store / erasure.ASIDE).exists()
    assert (kept / "pages-1.img").read_bytes() == b"another's"


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "4", "99999999999", "1 2"])
def test_a_note_that_means_nothing(checkpoint: Checkpoint, text: str) -> None:
    (checkpoint.folder / chain.AHEAD).write_text(text)
    assert chain.noted(checkpoint.folder) == 0


def test_a_note(checkpoint: Checkpoint) -> None:
    assert chain.noted(checkpoint.folder) == 0
    (checkpoint.folder / chain.AHEAD).write_text("2\n")
    assert chain.noted(checkpoint.folder) == 2
