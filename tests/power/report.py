"""The table of a campaign, as text for docs/power-cuts.md."""

from __future__ import annotations

from collections.abc import Iterator

from tests.power.campaign import Campaign
from tests.power.judge import Decision, Window
from tests.power.variants import Variant

_SHOWN = 6
"""Findings of a wrong guardian that are shown in full."""


def table(campaign: Campaign) -> str:
    """Counts for each window and decision, the boots, what was wrong."""
    return "\n".join(_lines(campaign)) + "\n"


def _lines(campaign: Campaign) -> Iterator[str]:
    yield f"**{campaign.variant.value}**, commit {campaign.commit}, seed {campaign.seed}: {campaign.cuts} cuts of"
    yield f"{campaign.entries} entries ({campaign.flushes} flushes, {campaign.megabytes} MiB written);"
    yield f"{campaign.lossy} of them lose writes that were in the disk's cache; **{len(campaign.found)} violations**."
    yield ""
    decisions = [item for item in Decision if any(key[1] is item for key in campaign.counts)]
    yield (
        "| the power goes while it is | cuts | "
        + " | ".join(item.value for item in decisions)
        + " | violations |"
    )
    yield "|---" * (len(decisions) + 3) + "|"
    for window in Window:
        row = [campaign.counts.get((window, item), 0) for item in decisions]
        wrong = sum(item.window is window for item in campaign.found)
        if sum(row):
            yield f"| {window.value} | {sum(row)} | " + " | ".join(map(str, row)) + f" | {wrong} |"
    if campaign.starts:
        yield ""
        yield "| booted to the end: cut at entry | while it was | decided | outcome | reason | violations |"
        yield "|---|---|---|---|---|---|"
        for start in campaign.starts:
            told = start.booted
            yield (
                f"| {start.position} | {start.window.value} | {start.decision.value} | {told.outcome} |"
                f" {told.reason or '-'} | {'; '.join(told.problems) or 0} |"
            )
    if campaign.found:
        yield ""
        shown = campaign.found[:_SHOWN] if campaign.variant is not Variant.TRUE else campaign.found
        yield from (f"- {item}" for item in shown)
