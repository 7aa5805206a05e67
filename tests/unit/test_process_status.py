"""Capabilities and filters of a process, from /proc/PID/status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian.model.process_status import CAPABILITIES, parse

STATUS = """\
Name:\tworker
Umask:\t0022
CapInh:\t0000000000000000
CapPrm:\t000001ffffffffff
CapEff:\t{effective}
CapBnd:\t000001ffffffffff
NoNewPrivs:\t0
Seccomp:\t{seccomp}
Seccomp_filters:\t0
"""


def test_all_of_them() -> None:
    found = parse(STATUS.format(effective="000001ffffffffff", seccomp=0))
    assert found.capabilities == set(CAPABILITIES)
    assert not found.filtered


def test_one_that_is_missing() -> None:
    found = parse(STATUS.format(effective="000001fffeffffff", seccomp=0))
    assert set(CAPABILITIES) - found.capabilities == {"CAP_SYS_RESOURCE"}


def test_the_numbers_are_the_kernels() -> None:
    numbers = {"CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_CHECKPOINT_RESTORE": 40}
    for name, number in numbers.items():
        assert parse(STATUS.format(effective=f"{1 << number:016x}", seccomp=0)).capabilities == {name}


def test_capabilities_of_a_newer_kernel_are_no_harm() -> None:
    assert parse(STATUS.format(effective="ffffffffffffffff", seccomp=0)).capabilities == set(CAPABILITIES)


@pytest.mark.parametrize(("mode", "filtered"), [("0", False), ("1", True), ("2", True)])
def test_a_filter(mode: str, filtered: bool) -> None:
    assert parse(STATUS.format(effective="0", seccomp=mode)).filtered is filtered


def test_a_kernel_without_seccomp() -> None:
    assert not parse("CapEff:\t0000000000000000\n").filtered


@given(st.text())
def test_other_text_raises_nothing_else(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
