"""Kernel releases, and what `criu check` says."""

from __future__ import annotations

import pytest

from guardian.model.kernel_support import errors, is_unknown, release, too_new

CHECK = """\
Warn  (criu/cr-check.c:824): Dirty tracking is OFF. Memory snapshot will not work.
Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
Error (criu/cr-check.c:1007): failed to mount autofs: Invalid argument
(00.001) Error (criu/cr-check.c:1): second
"""


@pytest.mark.parametrize(
    ("text", "version"), [("6.12.57+deb13-amd64", (6, 12)), ("6.18.44-fc", (6, 18)), ("7.0", (7, 0))]
)
def test_releases(text: str, version: tuple[int, int]) -> None:
    assert release(text) == version


@pytest.mark.parametrize("text", ["", "linux", "6", "v6.1"])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(ValueError, match="no kernel release"):
        release(text)


@pytest.mark.parametrize(
    ("kernel", "criu", "fails"),
    [
        ((6, 15), (3, 19), False),
        ((6, 16), (4, 1, 1), True),
        ((6, 16), (4, 2), False),
        ((6, 18), (4, 2, 1), False),
        ((7, 0), (4, 1), True),
    ],
)
def test_new_kernels_need_a_new_criu(kernel: tuple[int, int], criu: tuple[int, ...], fails: bool) -> None:
    assert too_new(kernel, criu) is fails


def test_errors_of_criu_check() -> None:
    assert errors(CHECK) == ["failed to mount autofs: Invalid argument", "second"]
    assert errors("Looks good.\n") == []


def test_a_feature_that_this_criu_has_not_heard_of() -> None:
    assert is_unknown("Error (criu/cr-check.c:1901): Unknown feature rseq\n")
    assert not is_unknown("timens is supported\n")
