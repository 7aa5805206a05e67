"""In which order the memory of many processes is sent while it is written."""

from __future__ import annotations

from pathlib import Path

from guardian.work.departing import next_pages


def test_pages_are_sent_in_the_order_in_which_they_are_written(tmp_path: Path) -> None:
    """Whatever is not the newest is complete: sent by name, pages-10 would be cut short because of pages-2."""
    for number in (1, 2, 9, 10, 11):
        (tmp_path / f"pages-{number}.img").touch()
    (tmp_path / "pagemap-1.img").touch()
    sent: set[Path] = set()
    order = []
    while (path := next_pages(tmp_path, sent)) is not None:
        sent.add(path)
        order.append(path.name)
    assert order == [f"pages-{number}.img" for number in (1, 2, 9, 10, 11)]
