"""The graph: orders, groups, and the decided outcome of everything that cannot be followed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.container import Container, Healthcheck, Mount
from guardian.model.graph import Edge, Graph, Member, Other, address_order, build, called
from guardian.model.labels import COMPOSE_DEPENDS_ON, COMPOSE_ONEOFF, Condition, Dependency, GroupPolicy
from tests.unit.samples import bind, compose, container, id_of, member, on_network, volume

HEALTHCHECK = Healthcheck(("CMD", "true"))


def names(ids: Sequence[str]) -> list[str]:
    found = {id_of(name): name for name in KNOWN}
    return [found[each] for each in ids]


KNOWN = [*"abcdefghijkl", "db-1", "db-2", "web", "other"]


def order(graph: Graph) -> list[str]:
    return names(graph.restore_order())


def levels(graph: Graph) -> list[list[str]]:
    return [names(level) for level in graph.restore_levels()]


def groups(graph: Graph) -> list[list[str]]:
    return [names(group.members) for group in graph.groups()]


def edge(source: str, target: str, condition: Condition = Condition.STARTED) -> Edge:
    return Edge(id_of(source), id_of(target), condition)


def test_nothing() -> None:
    graph = build([], [])
    assert (graph.groups(), graph.restore_levels(), graph.restore_order()) == ((), (), ())
    assert graph.dependencies(id_of("a")) == ()
    assert graph.problems(id_of("a")) == ()


def test_dependencies_come_first_and_are_frozen_last() -> None:
    graph = build([member("a", ["c"]), member("b", ["c", "a"]), member("c"), member("d")], [])
    assert levels(graph) == [["c", "d"], ["a"], ["b"]]
    assert order(graph) == ["c", "d", "a", "b"]
    assert groups(graph) == [["a", "b", "c"], ["d"]]
    assert names(graph.freeze_order(graph.groups()[0])) == ["b", "a", "c"]
    assert set(graph.dependencies(id_of("b"))) == {edge("b", "c"), edge("b", "a")}
    assert graph.problems(id_of("b")) == ()


def test_the_order_does_not_depend_on_the_order_of_discovery() -> None:
    members = [member("a", ["c"]), member("b"), member("c"), member("d", ["b"])]
    graphs = [build(members, []), build(members[::-1], [])]
    assert graphs[0].restore_order() == graphs[1].restore_order()
    assert graphs[0].groups() == graphs[1].groups()


def test_the_stricter_condition_counts() -> None:
    wanted = [Dependency("b", condition) for condition in (Condition.STARTED, Condition.HEALTHY)]
    graph = build([member("a", wanted), member("b", healthcheck=HEALTHCHECK)], [])
    assert graph.dependencies(id_of("a")) == (edge("a", "b", Condition.HEALTHY),)


def test_healthy_without_a_health_check_is_started_and_said() -> None:
    graph = build([member("a", [Dependency("b", Condition.HEALTHY)]), member("b")], [])
    assert graph.dependencies(id_of("a")) == (edge("a", "b"),)
    assert "no health check" in graph.problems(id_of("a"))[0]


def test_a_name_is_a_containers_first_then_a_services() -> None:
    members = [
        member("a", ["db"], labels=compose("shop", "a")),
        member("db-1", labels=compose("shop", "db")),
        member("other", labels=compose("blog", "db")),
    ]
    assert build(members, []).dependencies(id_of("a")) == (edge("a", "db-1"),)
    named = build([*members, member("db")], [])
    assert named.dependencies(id_of("a")) == (edge("a", "db"),)


def test_composes_own_names_are_services_only() -> None:
    wanted = [Dependency("db", Condition.STARTED, COMPOSE_DEPENDS_ON)]
    members = [
        member("a", wanted, labels=compose("shop", "a")),
        member("db-1", labels=compose("shop", "db")),
        member("db"),
    ]
    assert build(members, []).dependencies(id_of("a")) == (edge("a", "db-1"),)


def test_a_service_is_all_its_containers_but_those_of_compose_run() -> None:
    members = [
        member("a", ["db"], labels=compose("shop", "a")),
        member("db-1", labels=compose("shop", "db")),
        member("db-2", labels=compose("shop", "db")),
        member("other", labels=compose("shop", "db") | {COMPOSE_ONEOFF: "True"}),
    ]
    assert build(members, []).dependencies(id_of("a")) == (edge("a", "db-1"), edge("a", "db-2"))


def test_without_a_project_there_are_no_services() -> None:
    graph = build([member("a", ["db"]), member("db-1", labels=compose("", "db"))], [])
    assert "no such container or service" in graph.problems(id_of("a"))[0]


@pytest.mark.parametrize("kind", ["network_mode", "ipc_mode", "pid_mode"])
@pytest.mark.parametrize("reference", [id_of("b"), "b"])
def test_a_shared_namespace_is_a_dependency(kind: str, reference: str) -> None:
    changes: dict[str, Any] = {kind: f"container:{reference}"}
    graph = build([member("a", **changes), member("b")], [])
    assert graph.dependencies(id_of("a")) == (edge("a", "b"),)
    assert groups(graph) == [["a", "b"]]


def test_a_namespace_of_one_that_is_not_guarded() -> None:
    mode = f"container:{id_of('web')}"
    members = [member("a", network_mode=mode), member("b", network_mode=mode), member("c")]
    graph = build(members, [called(container("web"))])
    assert groups(graph) == [["a", "b"], ["c"]]
    assert "'web' is not guarded" in graph.problems(id_of("a"))[0]


def test_a_cycle_is_dropped_for_ordering_and_said_for_each() -> None:
    graph = build(
        [member("c", ["a"]), member("a", ["b"]), member("b", ["c", "e"]), member("d", ["b"]), member("e")], []
    )
    assert levels(graph) == [["e"], ["a", "b", "c"], ["d"]]
    assert groups(graph) == [["a", "b", "c", "d", "e"]]
    assert graph.dependencies(id_of("a")) == graph.dependencies(id_of("c")) == ()
    assert graph.dependencies(id_of("b")) == (edge("b", "e"),)
    assert graph.dependencies(id_of("d")) == (edge("d", "b"),)
    for name in "abc":
        (problem,) = graph.problems(id_of(name))
        assert "cycle (a, b, c)" in problem
    assert graph.problems(id_of("d")) == ()


def test_the_names_of_a_long_cycle_are_not_all_said() -> None:
    ring = [f"n{number:03}" for number in range(300)]
    graph = build([member(name, [after]) for name, after in zip(ring, ring[1:] + ring[:1], strict=True)], [])
    assert all(len(graph.problems(id_of(name))[0]) < 200 for name in ring)


def test_a_very_long_chain() -> None:
    chain = [f"n{number:04}" for number in range(3000)]
    graph = build([member(name, [after]) for name, after in itertools.pairwise(chain)], [])
    assert len(graph.restore_levels()) == len(chain) - 1


def test_an_unknown_dependency_is_ignored_and_said() -> None:
    graph = build([member("a", ["zz", "b"]), member("b")], [])
    assert graph.dependencies(id_of("a")) == (edge("a", "b"),)
    (problem,) = graph.problems(id_of("a"))
    assert "'zz'" in problem
    assert "guardian.depends-on" in problem


@pytest.mark.parametrize("target", ["web", "front"])
def test_one_that_is_not_guarded_is_not_waited_for(target: str) -> None:
    graph = build(
        [member("a", [target], labels=compose("shop", "a")), member("b")], [Other("web", "front", "shop")]
    )
    assert graph.dependencies(id_of("a")) == ()
    (problem,) = graph.problems(id_of("a"))
    assert "'web' is not guarded" in problem
    assert "does not wait" in problem
    assert order(graph) == ["a", "b"]


def test_itself() -> None:
    graph = build([member("db-1", ["db-1", "db"], labels=compose("shop", "db"))], [])
    assert graph.dependencies(id_of("db-1")) == ()
    assert len(graph.problems(id_of("db-1"))) == 2
    assert all("itself" in problem for problem in graph.problems(id_of("db-1")))


def test_a_completed_job_is_not_waited_for_and_never_a_problem() -> None:
    done = [Dependency(name, Condition.COMPLETED) for name in ("b", "web", "gone")]
    graph = build([member("a", done), member("b", ["a"])], [Other("web")])
    assert graph.dependencies(id_of("a")) == ()
    assert graph.problems(id_of("a")) == graph.problems(id_of("b")) == ()
    assert order(graph) == ["a", "b"]


@pytest.mark.parametrize(
    ("one", "another", "together"),
    [
        (volume("v"), volume("v"), True),
        (volume("v"), volume("v", writable=False), True),
        (volume("v", writable=False), volume("v", writable=False), False),
        (volume("v"), volume("w"), False),
        (bind("/srv/a"), bind("/srv/a/", writable=False), True),
        (bind("/etc/localtime", writable=False), bind("/etc/localtime", writable=False), False),
        (bind("/srv/a"), bind("/srv/b"), False),
        (volume("v"), bind("/var/lib/docker/volumes/v/_data"), True),
        (bind("/run/docker.sock"), bind("/run/docker.sock"), False),
        (bind("/dev/fuse"), bind("/dev/fuse"), False),
        (bind("/devices"), bind("/devices"), True),
        (Mount("tmpfs", "", "/tmp", True), Mount("tmpfs", "", "/tmp", True), False),
    ],
)
def test_who_shares_what_is_written_to_is_one_group(one: Mount, another: Mount, together: bool) -> None:
    graph = build([member("a", mounts=(one,)), member("b", mounts=(another,))], [])
    assert groups(graph) == ([["a", "b"]] if together else [["a"], ["b"]])


def test_one_member_makes_its_group_strict() -> None:
    members = [member("a", ["b"]), member("b", group=GroupPolicy.ALL_OR_NOTHING), member("c")]
    policies = [group.policy for group in build(members, []).groups()]
    assert policies == [GroupPolicy.ALL_OR_NOTHING, GroupPolicy.BEST_EFFORT]


def test_addresses_are_taken_in_their_old_order() -> None:
    containers: list[Container] = [
        on_network("d"),
        on_network("c", "", "10.0.0.1"),
        on_network("b", "172.17.0.10"),
        on_network("a", "172.17.0.9", "10.0.0.9"),
        on_network("e", "no address"),
    ]
    assert [each[:8] for each in address_order(containers)] == [id_of(name)[:8] for name in "cabde"]


@st.composite
def graphs(draw: st.DrawFn) -> list[Member]:
    known = draw(st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=9))
    target = st.builds(Dependency, st.sampled_from("abcdefghijklz"), st.sampled_from(Condition))
    mounts = st.lists(st.sampled_from("vw").map(volume), max_size=1).map(tuple)
    return [
        member(
            name,
            draw(st.lists(target, max_size=3)),
            mounts=draw(mounts),
            healthcheck=draw(st.sampled_from([HEALTHCHECK, Healthcheck()])),
        )
        for name in known
    ]


def reach(members: Sequence[Member]) -> dict[str, set[str]]:
    """Who waits for whom, however far away, found the slow way."""
    reached = {
        each.container.name: {
            wanted.target
            for wanted in each.policy.depends_on
            if wanted.condition is not Condition.COMPLETED and wanted.target != each.container.name
        }
        for each in members
    }
    for _ in reached:
        for targets in reached.values():
            targets |= {further for target in list(targets) for further in reached.get(target, ())}
    return reached


@given(graphs())
def test_every_order_respects_every_edge_outside_cycles(members: list[Member]) -> None:
    graph = build(members, [])
    reached = reach(members)
    place = {name: number for number, name in enumerate(order(graph))}
    assert sorted(place) == sorted(reached)
    for each in members:
        name = each.container.name
        waits = {names([found.target])[0] for found in graph.dependencies(each.container.id)}
        for wanted in each.policy.depends_on:
            asked = wanted.condition is not Condition.COMPLETED and wanted.target in reached
            circular = name in reached.get(wanted.target, ()) and wanted.target in reached[name]
            if asked and wanted.target != name and not circular:
                assert wanted.target in waits
        assert all(place[target] < place[name] for target in waits)
        assert all(name not in reached[target] for target in waits)


@given(graphs())
def test_the_members_of_a_cycle_stand_in_name_order_on_one_level(members: list[Member]) -> None:
    reached = reach(members)
    for level in levels(build(members, [])):
        assert level == sorted(level)
        for name in level:
            circle = {other for other in reached if name in reached[other] and other in reached[name]}
            assert circle <= set(level)


@given(graphs())
def test_groups_partition_the_members(members: list[Member]) -> None:
    graph = build(members, [])
    found = [each for group in graph.groups() for each in group.members]
    assert sorted(found) == sorted(each.container.id for each in members)
    group_of = {each: group for group in graph.groups() for each in group.members}
    for each in members:
        for wanted in graph.dependencies(each.container.id):
            assert group_of[wanted.source] is group_of[wanted.target]
    for group in graph.groups():
        assert graph.freeze_order(group)[::-1] == tuple(
            each for each in graph.restore_order() if each in group.members
        )


@given(graphs(), st.lists(st.sampled_from("abcz").map(Other)))
def test_problems_are_sentences_of_members(members: list[Member], others: list[Other]) -> None:
    graph = build(members, others)
    for each in members:
        problems = graph.problems(each.container.id)
        assert len(set(problems)) == len(problems)
        assert all(problem.isprintable() for problem in problems)
