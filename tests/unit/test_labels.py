"""What labels ask for, and that nothing in a label gets further than a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.labels import (
    COMPOSE_DEPENDS_ON,
    DEPENDS_ON,
    ENABLE,
    GROUP,
    HOOK,
    LABELS,
    MODE,
    MOST_DEPENDENCIES,
    PRE_CHECKPOINT,
    PRE_DUMP,
    PRIORITY,
    STALE,
    Condition,
    Dependency,
    GroupPolicy,
    Mode,
    Policy,
    Stale,
    parse,
)


def parsed(**labels: str) -> Policy:
    names = {"enable": ENABLE, "depends_on": DEPENDS_ON, "group": GROUP, "compose": COMPOSE_DEPENDS_ON}
    return parse({names[key]: value for key, value in labels.items()}, {}, trust_image_labels=False)


def test_no_labels_is_not_guarded() -> None:
    assert parse({}, {}, trust_image_labels=False) == Policy()


@pytest.mark.parametrize(
    ("value", "enabled"), [("true", True), ("True", True), (" true ", True), ("false", False)]
)
def test_enable(value: str, enabled: bool) -> None:
    assert parsed(enable=value) == Policy(enabled)


@pytest.mark.parametrize("value", ["", "yes", "1", "on", "tru", "true;", "\uff54rue", "true\x00"])
def test_enable_with_anything_else_is_not_guarded_and_said(value: str) -> None:
    policy = parsed(enable=value)
    assert not policy.enabled
    (problem,) = policy.problems
    assert ENABLE in problem
    assert repr(value) in problem
    assert "true or false" in problem


def test_depends_on() -> None:
    policy = parsed(depends_on="a, b:healthy ,c:started,,")
    assert policy.problems == ()
    assert policy.depends_on == (
        Dependency("a", Condition.STARTED),
        Dependency("b", Condition.HEALTHY),
        Dependency("c", Condition.STARTED),
    )


@pytest.mark.parametrize("value", ["a:completed", "a:Healthy", "a:b:c", "a:service_healthy"])
def test_an_unknown_condition_keeps_the_dependency(value: str) -> None:
    policy = parsed(depends_on=value)
    assert policy.depends_on == (Dependency("a", Condition.STARTED),)
    (problem,) = policy.problems
    assert DEPENDS_ON in problem
    assert repr(value) in problem
    assert "started or healthy" in problem


@pytest.mark.parametrize("value", ["/etc/passwd", "a b", ":healthy", "ü", "a;b", "x" * 256])
def test_what_is_no_name_is_ignored_and_said(value: str) -> None:
    policy = parsed(depends_on=f"{value},db")
    assert policy.depends_on == (Dependency("db", Condition.STARTED),)
    assert len(policy.problems) == 1


def test_the_number_of_dependencies_is_bounded() -> None:
    policy = parsed(depends_on=",".join(f"c{number}" for number in range(5 * MOST_DEPENDENCIES)))
    assert len(policy.depends_on) == MOST_DEPENDENCIES
    assert len(policy.problems) == 1
    assert len(policy.problems[0]) < 300


def test_compose() -> None:
    value = (
        "db:service_healthy:false,cache:service_started:true,old:service_started,bare,"
        "job:service_completed_successfully:false"
    )
    policy = parsed(compose=value)
    assert policy.problems == ()
    assert policy.depends_on == (
        Dependency("db", Condition.HEALTHY, COMPOSE_DEPENDS_ON),
        Dependency("cache", Condition.STARTED, COMPOSE_DEPENDS_ON),
        Dependency("old", Condition.STARTED, COMPOSE_DEPENDS_ON),
        Dependency("bare", Condition.STARTED, COMPOSE_DEPENDS_ON),
        Dependency("job", Condition.COMPLETED, COMPOSE_DEPENDS_ON),
    )


def test_an_empty_compose_label_is_nothing() -> None:
    assert parsed(compose="") == Policy()


def test_both_dependency_labels_count() -> None:
    policy = parsed(depends_on="a", compose="b:service_started:false")
    assert [each.target for each in policy.depends_on] == ["a", "b"]


def test_group() -> None:
    assert parsed(group="all-or-nothing").group is GroupPolicy.ALL_OR_NOTHING
    assert parsed(group="best-effort") == Policy()
    policy = parsed(group="all")
    assert policy.group is GroupPolicy.BEST_EFFORT
    assert "best-effort or all-or-nothing" in policy.problems[0]


def test_an_unknown_label_is_said_with_the_nearest_known_one() -> None:
    policy = parse({"guardian.depend-on": "a"}, {}, trust_image_labels=False)
    assert policy.depends_on == ()
    assert "guardian.depend-on" in policy.problems[0]
    assert f"did you mean {DEPENDS_ON}" in policy.problems[0]


def test_labels_of_others_are_not_looked_at() -> None:
    assert parse({"guardian": "1", "guardianx.enable": "1"}, {}, trust_image_labels=False) == Policy()


def test_the_images_own_labels_do_not_count() -> None:
    image = {ENABLE: "true", DEPENDS_ON: "a", "guardian.hook": "rm"}
    policy = parse(image, image, trust_image_labels=False)
    assert (policy.enabled, policy.depends_on) == (False, ())
    assert len(policy.problems) == 3
    assert all("the image's own" in problem for problem in policy.problems)


def test_the_images_own_labels_count_where_images_are_trusted() -> None:
    image = {ENABLE: "true"}
    assert parse(image, image, trust_image_labels=True) == Policy(True)


def test_a_label_that_differs_from_the_images_is_the_containers_own() -> None:
    assert parse({ENABLE: "true"}, {ENABLE: "false"}, trust_image_labels=False) == Policy(True)


def test_an_images_compose_labels_are_compose_labels() -> None:
    labels = {COMPOSE_DEPENDS_ON: "db"}
    assert parse(labels, labels, trust_image_labels=False).depends_on


_NAMES = st.sampled_from([label.name for label in LABELS]) | st.text().map("guardian.".__add__) | st.text()


@given(st.dictionaries(_NAMES, st.text()), st.dictionaries(_NAMES, st.text()), st.booleans())
def test_nothing_in_a_label_raises(labels: dict[str, str], image: dict[str, str], trust: bool) -> None:
    policy = parse(labels, image, trust_image_labels=trust)
    assert not policy.enabled or labels[ENABLE].strip().lower() == "true"
    assert all(problem.isprintable() for problem in policy.problems)


@given(st.dictionaries(_NAMES, st.text()))
def test_an_image_alone_never_decides_anything(labels: dict[str, str]) -> None:
    compose = {COMPOSE_DEPENDS_ON: labels.get(COMPOSE_DEPENDS_ON, "")}
    policy = parse(labels, labels, trust_image_labels=False)
    bare = parse(compose, {}, trust_image_labels=False)
    assert (policy.enabled, policy.depends_on, policy.group) == (bare.enabled, bare.depends_on, bare.group)


@pytest.mark.parametrize("value", ["../evil", "/bin/sh", ".hidden", "a b", "a;b", "a/b", "x" * 256])
def test_a_hook_is_a_name_and_nothing_else(value: str) -> None:
    policy = parse({HOOK: value}, {}, trust_image_labels=False)
    assert policy.hook == ""
    assert HOOK in policy.problems[0]
    assert parse({HOOK: "address-1"}, {}, trust_image_labels=False).hook == "address-1"
    # An image names no hook for itself.
    assert parse({HOOK: "address"}, {HOOK: "address"}, trust_image_labels=False).hook == ""


def test_modes() -> None:
    assert parse({}, {}, trust_image_labels=False).mode is Mode.CHECKPOINT
    assert parse({MODE: "stop"}, {}, trust_image_labels=False).mode is Mode.STOP
    policy = parse({MODE: "halt"}, {}, trust_image_labels=False)
    assert policy.mode is Mode.CHECKPOINT
    assert "'halt' is not allowed" in policy.problems[0]


@pytest.mark.parametrize(("value", "priority"), [("7", 7), (" 1000 ", 1000), ("0", 0)])
def test_priority(value: str, priority: int) -> None:
    policy = parse({PRIORITY: value}, {}, trust_image_labels=False)
    assert (policy.priority, policy.problems) == (priority, ())


@pytest.mark.parametrize("value", ["", "-1", "1001", "1.5", "high", "\u0663", "99999999"])
def test_a_priority_that_is_none_is_said(value: str) -> None:
    policy = parse({PRIORITY: value}, {}, trust_image_labels=False)
    assert policy.priority == 0
    assert PRIORITY in policy.problems[0]


@pytest.mark.parametrize(("value", "number"), [("0", 0), (" 2 ", 2), ("3", 3)])
def test_pre_dump(value: str, number: int) -> None:
    policy = parse({PRE_DUMP: value}, {}, trust_image_labels=False)
    assert (policy.pre_dump, policy.problems) == (number, ())
    assert parse({PRE_DUMP: value}, {PRE_DUMP: value}, trust_image_labels=False).pre_dump == 0


@pytest.mark.parametrize("value", ["", "-1", "4", "1.5", "yes", "\u0663", "03", "99999999"])
def test_a_pre_dump_that_is_none_is_said(value: str) -> None:
    policy = parse({PRE_DUMP: value}, {}, trust_image_labels=False)
    assert policy.pre_dump == 0
    assert f"label {PRE_DUMP}: " in policy.problems[0]
    assert "0 is used; allowed are 0 to 3" in policy.problems[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("redis-cli save", ("/bin/sh", "-c", "redis-cli save")),
        (' ["redis-cli", "save"] ', ("redis-cli", "save")),
        ("", ()),
        ("[", ()),
        ("[]", ()),
        ('["a", 1]', ()),
        ('["a\\u0000"]', ()),
        ("[" * 100_000, ()),
    ],
)
def test_commands(value: str, words: tuple[str, ...]) -> None:
    found = parse({PRE_CHECKPOINT: value}, {}, trust_image_labels=False)
    assert found.pre_checkpoint == words
    assert bool(found.problems) == (not words and bool(value))


@pytest.mark.parametrize("value", ["files", "volume", "never"])
def test_stale(value: str) -> None:
    assert parse({STALE: value}, {}, trust_image_labels=False).stale is Stale(value)
    refused = parse({STALE: f"{value}s"}, {}, trust_image_labels=False)
    assert refused.stale is Stale.FILES
    assert refused.problems
