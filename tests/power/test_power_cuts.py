"""Power cuts that lose the disk's cache: guardian keeps what it has promised, and one that lacks a step is found out.

CUTS, BOOTS and SEED in the environment say how many cuts, how many of them are booted, and which ones; CONTROL_CUTS,
how many of a guardian that lacks a step. The tables are also written into dist/power-cuts/.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.power.campaign import Campaign, run
from tests.power.report import table
from tests.power.variants import REPOSITORY, Variant

CUTS = int(os.environ.get("CUTS") or 3000)
BOOTS = int(os.environ.get("BOOTS") or 21)
SEED = int(os.environ.get("SEED") or 7)
LEAST_CUTS = 1000
LEAST_BOOTS = 10
CONTROL_CUTS = int(os.environ.get("CONTROL_CUTS") or 600)


def told(campaign: Campaign) -> Campaign:
    text = table(campaign)
    print(f"\n{text}")
    folder = REPOSITORY / "dist" / "power-cuts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{campaign.variant.name.lower()}.md").write_text(text)
    return campaign


def kinds(campaign: Campaign) -> set[str]:
    """What was found, each kind once."""
    return {item.problem.partition(":")[0] for item in campaign.found}


def test_what_was_promised_holds_after_any_cut(tmp_path: Path) -> None:
    campaign = told(run(Variant.TRUE, tmp_path, count=CUTS, boots=BOOTS, seed=SEED))
    assert campaign.cuts >= LEAST_CUTS
    assert len(campaign.starts) >= LEAST_BOOTS
    assert not campaign.found
    assert not [start for start in campaign.starts if start.booted.problems]


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        (Variant.WITHOUT_SPENT, "ran twice"),
        (Variant.SPENT_NOT_FLUSHED, "ran twice"),
        (Variant.WITHOUT_SYNC, "memory is ahead"),
        (Variant.WITHOUT_IMAGE_SYNC, "image"),
    ],
    ids=lambda value: value.name if isinstance(value, Variant) else "",
)
def test_a_guardian_that_lacks_a_step_is_found_out(variant: Variant, kind: str, tmp_path: Path) -> None:
    campaign = told(run(variant, tmp_path, count=CONTROL_CUTS, boots=0, seed=SEED))
    assert kind in kinds(campaign)
