"""What a great number of processes costs at a restore."""

from __future__ import annotations

from pathlib import Path

from guardian.model.many import memory, seconds, without_memory
from guardian.runtime.bundle import SPARE_MEMORY, processes_of, with_room

GIB = 1 << 30


def test_time_and_memory_grow_with_the_square_of_the_number() -> None:
    assert seconds(1) < 0.1
    assert 2 * seconds(1000) < seconds(2000) < 120 < seconds(5000)
    assert memory(4000) == 4 * memory(2000)


def test_memory_that_is_not_there_is_told_beforehand() -> None:
    assert without_memory(500, 0) == ""
    assert without_memory(2000, 8 * GIB) == ""
    told = without_memory(5000, 8 * GIB)
    assert "5000 processes" in told
    assert "and 8.0 GiB are free" in told


def test_a_limit_of_memory_is_raised_by_what_their_number_needs(tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("".join(f"{pid} 100\n" for pid in range(600)))
    assert processes_of(str(tmp_path)) == 600
    assert processes_of(str(tmp_path / "gone")) == 0
    few, many = {"memory": {"limit": GIB, "swap": GIB}}, {"memory": {"limit": GIB, "swap": GIB}}
    assert with_room(few, 1) == with_room(many, 600) == {"memory": {"limit": GIB, "swap": GIB}}
    assert few["memory"]["limit"] < GIB + 2 * SPARE_MEMORY
    assert many["memory"]["limit"] == many["memory"]["swap"] >= GIB + memory(600)
