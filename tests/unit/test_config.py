"""guardian.toml: what is allowed is taken, all else is an error that names file, key and what is allowed."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.config import (
    MOST_BUDGET,
    SECTIONS,
    SETTINGS,
    Config,
    Setting,
    defaults,
    from_mapping,
)
from guardian.model.config_kinds import HookFailure, LogLevel, parse_duration, parse_size
from guardian.model.errors import BadInput

SOURCE = "/etc/guardian/guardian.toml"
SHIPPED = Path(__file__).parents[2] / "etc" / "guardian.toml"
DURATIONS = [setting for setting in SETTINGS if isinstance(getattr(defaults(), setting.field), float)]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


def read(text: str) -> Config:
    return from_mapping(tomllib.loads(text), source=SOURCE)


def refused(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        read(text)
    assert SOURCE in str(caught.value)
    return str(caught.value)


def test_the_defaults() -> None:
    assert defaults() == Config(
        store_path="/var/lib/guardian/checkpoints",
        max_size=0,
        max_container_size=0,
        reserve=1 << 30,
        encrypt=False,
        trust_image_labels=False,
        guarded_names=(),
        parallel=0,
        checkpoint_budget=600.0,
        container_timeout=120.0,
        sync_timeout=60.0,
        restore_budget=900.0,
        restore_timeout=120.0,
        health_timeout=60.0,
        hold_expiry=900.0,
        max_age=0.0,
        verify=True,
        recreate_networks=False,
        canary=True,
        fence_time=900.0,
        hook_timeout=10.0,
        hook_failure=HookFailure.VETO,
        retained_snapshots=10,
        retained_age=0.0,
        retained_size=0,
        erase=True,
        log_level=LogLevel.INFO,
    )


def test_the_shipped_file_changes_nothing() -> None:
    assert read(SHIPPED.read_text()) == defaults()


def test_the_shipped_files_lines_are_the_defaults() -> None:
    lines = SHIPPED.read_text().splitlines()
    active = [line.removeprefix("#") if line[:2] != "# " else line for line in lines]
    assert active != lines
    assert read("\n".join(active)) == defaults()


def test_the_table_and_the_config_agree() -> None:
    assert {setting.field for setting in SETTINGS} == {each.name for each in dataclasses.fields(Config)}
    assert {setting.section for setting in SETTINGS} == set(SECTIONS)
    assert len({(setting.section, setting.key) for setting in SETTINGS}) == len(SETTINGS)


def test_values() -> None:
    config = read(
        """
        [store]
        path = "/srv//checkpoints/"
        max-size = "50G"
        max-container-size = 1048576
        reserve = "0"
        [labels]
        trust-image-labels = true
        [checkpoint]
        parallel = 4
        budget = "10m"
        [restore]
        max-age = "7d"
        health-timeout = 1.5
        [log]
        level = "debug"
        """
    )
    assert config.store_path == "/srv/checkpoints"
    assert (config.max_size, config.max_container_size, config.reserve) == (50 << 30, 1 << 20, 0)
    assert config.trust_image_labels
    assert (config.parallel, config.checkpoint_budget) == (4, 600.0)
    assert (config.max_age, config.health_timeout) == (7 * 86400.0, 1.5)
    assert config.log_level is LogLevel.DEBUG


def test_the_canary_can_be_left_out() -> None:
    assert read("[restore]\ncanary = false").canary is False
    refused('[restore]\ncanary = "no"')


def test_an_unknown_key() -> None:
    message = refused("[store]\nmaxsize = 1")
    assert "[store] maxsize is unknown" in message
    assert "did you mean max-size" in message


def test_an_unknown_section() -> None:
    message = refused("[restor]\nbudget = 1")
    assert "[restor] is unknown" in message
    assert "did you mean restore" in message


def test_a_key_of_another_section() -> None:
    assert "allowed: level" in refused("[log]\nbudget = 1")


def test_a_section_that_is_no_table() -> None:
    assert "store is 'x', not a table" in refused('store = "x"')


def test_an_array_of_tables() -> None:
    assert "an array" in refused("[[store]]\npath = '/x'")


@pytest.mark.parametrize(
    "line",
    [
        'path = "relative"',
        'path = "/"',
        'path = "//"',
        'path = "/a/../b"',
        'path = "/a\\nb"',
        'path = "/a\\u0000"',
        "path = 1",
        'max-size = "50 G"',
        'max-size = "50GB"',
        'max-size = "-1"',
        "max-size = -1",
        "max-size = 1.5",
        "max-size = true",
        "max-size = ['1G']",
        'reserve = ""',
        'reserve = "٣G"',
        'reserve = "999999999999999T"',
    ],
)
def test_wrong_in_store(line: str) -> None:
    message = refused(f"[store]\n{line}")
    assert f"[store] {line.split(maxsplit=1)[0]}" in message
    assert "allowed: " in message


@pytest.mark.parametrize("setting", DURATIONS, ids=lambda setting: setting.field)
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "true", '"soon"', '"1y"', '""', "[]", "1979-05-27"])
def test_wrong_durations(setting: Setting, value: str) -> None:
    message = refused(f"[{setting.section}]\n{setting.key} = {value}")
    assert f"[{setting.section}] {setting.key}" in message
    assert "allowed: seconds" in message


@pytest.mark.parametrize("section", ["checkpoint", "restore"])
def test_a_budget_stays_under_twenty_minutes(section: str) -> None:
    assert "1 to 1140" in refused(f"[{section}]\nbudget = 1141")
    assert "1 to 1140" in refused(f"[{section}]\nbudget = 0")
    assert read(f"[{section}]\nbudget = {MOST_BUDGET}") != defaults()


def test_a_hold_always_ends() -> None:
    assert "60 to 604800" in refused("[restore]\nhold-expiry = 0")


@pytest.mark.parametrize(
    "text",
    [
        "[checkpoint]\nparallel = -1",
        "[checkpoint]\nparallel = true",
        "[checkpoint]\nparallel = 1.0",
        '[labels]\ntrust-image-labels = "true"',
        "[labels]\ntrust-image-labels = 1",
        '[log]\nlevel = "loud"',
        "[log]\nlevel = 3",
        f"[checkpoint]\nparallel = 0x{'f' * 5000}",
        f"[restore]\nmax-age = 0x{'f' * 5000}",
        f"[store]\nreserve = 0x{'f' * 5000}",
        f"[store]\nreserve = [0x{'f' * 5000}]",
    ],
)
def test_other_wrong_values(text: str) -> None:
    assert "allowed: " in refused(text)


@given(st.dictionaries(st.sampled_from(sorted(SECTIONS)) | st.text(), anything))
def test_no_mapping_raises_anything_else(data: dict[str, object]) -> None:
    try:
        from_mapping(data, source=SOURCE)
    except BadInput as error:
        assert SOURCE in str(error)


@given(st.sampled_from(SETTINGS), anything)
def test_no_value_raises_anything_else(setting: Setting, value: object) -> None:
    try:
        config = from_mapping({setting.section: {setting.key: value}}, source=SOURCE)
    except BadInput as error:
        assert setting.key in error.what
        assert error.hint.startswith("allowed: ")
    else:
        assert type(getattr(config, setting.field)) is type(getattr(defaults(), setting.field))


@given(st.text() | st.from_regex(r"[0-9.]{1,20}\s?[a-zA-Z]{0,3}"))
def test_no_text_raises_anything_else(text: str) -> None:
    for parser in (parse_size, parse_duration):
        try:
            value = parser(text)
        except BadInput:
            continue
        assert value >= 0
        assert math.isfinite(value)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("7", 7), ("1k", 1024), (" 2M ", 2 << 20), ("3G", 3 << 30), ("1T", 1 << 40)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("250ms", 0.25),
        ("90", 90),
        ("90s", 90),
        ("1.5m", 90),
        ("2h", 7200),
        ("7d", 604800),
        ("1w", 604800),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("name", "guarded"),
    [("web-1", True), ("web", False), ("db", True), ("dbx", False), ("x7", True), ("xa", False)],
)
def test_names_that_are_guarded_without_a_label(name: str, guarded: bool) -> None:
    assert read('[labels]\nguard = ["web-*", "db", "x[0-9]"]').guards(name) is guarded


@pytest.mark.parametrize("value", ['"web-*"', "[1]", '["a b"]', '[""]', '["/x"]'])
def test_what_is_no_pattern_of_names(value: str) -> None:
    assert "[labels] guard" in refused(f"[labels]\nguard = {value}")
