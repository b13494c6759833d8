"""How the story ended: a table, a few sentences, or one object."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.cli.demo.audit import Audit
from orchestrator.cli.demo.stage import COST_WEIGHT
from orchestrator.cli.demo.story import Story
from orchestrator.cli.output import table
from orchestrator.core.money import format_usd

__all__ = ["as_dict", "print_report"]


def print_report(story: Story, audit: Audit, seconds: float, log: Path, console: Console) -> None:
    """Write the closing table and what it means."""
    numbers = ("answered", "right", "quality", "cost", "seconds", "worth", "regret")
    closing = table("arm", *numbers, right=numbers)
    for arm in audit.arms:
        closing.add_row(
            arm.key,
            str(arm.pulls),
            str(arm.right),
            f"{arm.quality:.2f}",
            format_usd(arm.cost_usd),
            f"{arm.latency_s:.2f}",
            f"{arm.worth:.2f}",
            f"{arm.regret:.1f}",
        )
    console.print(closing)
    console.print()
    for line in _sentences(story, audit, seconds):
        console.print(line, markup=False)
    console.print(
        f"Every decision: orchestrator log info --log {log}", markup=False, soft_wrap=True
    )


def _sentences(story: Story, audit: Audit, seconds: float) -> list[str]:
    spent = sum(arm.spent_usd for arm in audit.arms)
    lines = [
        "answered, right: in the story. The rest: each arm asked every question afterwards,",
        f"worth = quality - {COST_WEIGHT:g} x cost in USD.",
        f"regret: {audit.regret:.1f} right answers lost against {audit.arms[0].key} for all;",
        f"a choice by lot would have lost {audit.regret_of_chance:.1f}. "
        f"The story cost {format_usd(spent)}.",
    ]
    if story.death is not None:
        lines.append(
            f"killed: pid {story.death.pid} of {story.death.model}, in question "
            f"{story.death.question}; failovers: {story.failovers}."
        )
    lines.append(
        f"{story.asked} questions asked, {len(story.answers)} answered, {len(story.lost)} lost, "
        f"in {seconds:.0f} s."
    )
    return lines


def as_dict(story: Story, audit: Audit, seconds: float, seed: int, log: Path) -> dict[str, Any]:
    """Return the same as JSON-ready data."""
    return {
        "seed": seed,
        "seconds": seconds,
        "log": str(log),
        "asked": story.asked,
        "answered": len(story.answers),
        "lost": [str(error) for error in story.lost],
        "killed": None if story.death is None else asdict(story.death),
        "failovers": story.failovers,
        "best": audit.arms[0].key,
        "regret": audit.regret,
        "regret_of_chance": audit.regret_of_chance,
        "arms": [asdict(arm) for arm in audit.arms],
    }
