"""The plan: how long, in what order, and what has become worse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.faces.cli_plan import lines
from guardian.faces.jobs import Status, status_of_plan
from guardian.model.container import Healthcheck
from guardian.model.graph import build
from guardian.model.labels import Condition, Dependency
from guardian.model.plan import Forecast, drawn, news, resume_tree, save_order, speed, together
from guardian.model.traits import Obstacle
from tests.unit.samples import id_of, member

MIB = 1 << 20


def test_without_history_there_is_a_default() -> None:
    found = speed([])
    assert found.samples == 0
    assert 0.1 < found.seconds(0) < found.seconds(1000 * MIB) < 60


def test_history_says_how_fast_this_host_is() -> None:
    found = speed([(MIB, 0.2), (2 * MIB, 0.2), (200 * MIB, 2.2), (400 * MIB, 4.2), (300 * MIB, 300.0)])
    assert found.seconds(MIB) == pytest.approx(0.21, abs=0.01)
    assert found.seconds(100 * MIB) == pytest.approx(1.2)
    assert found.samples == 5


@given(st.lists(st.tuples(st.integers(-5, 1 << 45), st.floats(-1, 1e6))), st.integers(0, 1 << 45))
def test_a_prediction_is_a_time_and_grows_with_the_size(history: list[tuple[int, float]], size: int) -> None:
    found = speed(history)
    assert 0 < found.seconds(0) <= found.seconds(size) <= found.seconds(2 * size)


@pytest.mark.parametrize(("slots", "expected"), [(0, 6.0), (1, 6.0), (2, 4.0), (9, 3.0)])
def test_dumps_share_the_slots(slots: int, expected: float) -> None:
    assert together([1.0, 2.0, 3.0], slots) == expected
    assert together([], slots) == 0.0


def graph_of(*members: Any) -> tuple[Any, dict[str, str]]:
    return build(members, []), {item.container.id: item.container.name for item in members}


def test_the_order_as_a_tree() -> None:
    graph, names = graph_of(
        member("db", healthcheck=Healthcheck(("true",))),
        member("cache"),
        member("api", [Dependency("db", Condition.HEALTHY), "cache"]),
        member("web", ["api"]),
        member("alone"),
    )
    assert save_order(graph, names) == [["alone"], ["web", "api", "db", "cache"]]
    assert drawn(resume_tree(graph, names)) == [
        "alone",
        "cache",
        " └─ api (once it is started) ...",
        "db",
        " └─ api (once it is healthy)",
        "    └─ web (once it is started)",
    ]
    some = {id_of("api"): "api", id_of("web"): "web"}
    assert save_order(graph, some) == [["web", "api"]]
    assert drawn(resume_tree(graph, some)) == ["api", " └─ web (once it is started)"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40))
def test_every_container_is_in_the_tree_once(edges: list[tuple[int, int]]) -> None:
    needs: dict[int, list[str | Dependency]] = {number: [] for number in range(10)}
    for source, target in edges:
        if f"c{target}" not in needs[source]:
            needs[source].append(f"c{target}")
    graph, names = graph_of(*(member(f"c{number}", needs[number]) for number in range(10)))
    found: list[str] = []

    def walk(nodes: list[dict[str, Any]]) -> None:
        for node in nodes:
            found.extend([] if node["again"] else [node["name"]])
            assert not (node["again"] and node["then"])
            walk(node["then"])

    walk(resume_tree(graph, names))
    assert sorted(found) == sorted(names.values())


def forecast(name: str, *obstacles: Obstacle) -> Forecast:
    return Forecast(id_of(name), name, obstacles, 10 * MIB, 0.3)


BAD = Obstacle("uses io_uring", "switch it off")
SO_SO = Obstacle("watches files", "try it", forbids=False)


def test_only_what_changes_is_told() -> None:
    good, bad = forecast("web", SO_SO), forecast("web", SO_SO, BAD)
    assert news({}, [good]) == []
    assert news({good.id: True}, [good]) == []
    for before in ({}, {good.id: True}):
        assert news(before, [bad]) == [(False, "web: cannot be saved any more: uses io_uring; switch it off")]
    assert news({good.id: False}, [bad]) == []
    assert news({good.id: False}, [good]) == [(True, "web: can be saved again")]


@pytest.mark.parametrize(
    ("savable", "planned", "fits", "status"),
    [
        (0, 0, True, Status.DONE),
        (2, 2, True, Status.DONE),
        (1, 2, True, Status.PARTLY),
        (0, 2, True, Status.FAILED),
        (2, 2, False, Status.FAILED),
    ],
)
def test_the_exit_status(savable: int, planned: int, fits: bool, status: Status) -> None:
    assert status_of_plan(savable, planned, fits=fits) is status


def test_the_plan_for_people() -> None:
    made = {
        "containers": [
            forecast("web", BAD).to_json(),
            {**forecast("db").to_json(), "connections": 2},
            {
                **forecast("api").to_json(),
                "connections": 2,
                "lost": "a reboot would close 1 of 2 connections: x",
            },
        ],
        "save": [["web", "db"], ["api"]],
        "resume": [],
        "total": {
            "wanted": 3,
            "savable": 2,
            "size": MIB,
            "free": 10 * MIB,
            "seconds": 500.0,
            "budget": 300.0,
            "slots": 2,
            "fits_time": False,
        },
        "notes": ["live-restore is on"],
    }
    shown = lines(made)
    assert shown[0] == "web: CANNOT be saved, 10.0 MiB, about 0.3 s"
    assert shown[1] == "    uses io_uring: switch it off"
    assert "    connections kept: 2" in shown
    assert "    a reboot would close 1 of 2 connections: x" in shown
    assert (
        "together: 2 of 3 can be saved, 1.0 MiB (10.0 MiB free), about 500.0 s of 300 s, 2 at a time" in shown
    )
    assert "raise" in shown[-2]
    assert shown[-1] == "live-restore is on"
