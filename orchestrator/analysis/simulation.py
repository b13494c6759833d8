"""Many runs at once of one selector against one environment, with the code that serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from orchestrator.analysis.choice import choose_each
from orchestrator.analysis.environments import Environment, Episode
from orchestrator.analysis.ledger import Ledger
from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.selector import Selector

__all__ = ["Trace", "simulate"]

_MOST_ARMS: Final = 2**15
_MOST_PULLS: Final = 10**9
"""Of one simulation: two gigabytes that are remembered."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What was pulled.

    Attributes:
        environment: What answered.
        episode: The very runs.
        arms: The pulls, shape ``(horizon, runs)``.
    """

    environment: Environment
    episode: Episode
    arms: npt.NDArray[np.int16]


def simulate(
    selector: Selector,
    environment: Environment,
    *,
    horizon: int,
    runs: int,
    seed: int,
    on_round: Callable[[int], object] = lambda rounds: None,
) -> Trace:
    """Play so many rounds of so many runs, which know nothing of each other.

    What the environment draws depends on the seed alone, so that every selector meets the same
    luck, and numbers do not depend on who else was simulated.

    Args:
        selector: Chooses. One round is one second to its memory.
        environment: Answers.
        horizon: Rounds of every run, at least 1; with all runs' together at most a billion.
        runs: At least 1.
        seed: The same seed, the same trace.
        on_round: Told after every round how many are done.

    Raises:
        InvalidRequestError: There is nothing to play, too much, or too many arms.
        ConfigurationError: The selector cannot be simulated: its scores are not numbers, it keeps
            by itself what it learns, or it learns from features and lets that fade.
    """
    for name, value in (("horizon", horizon), ("runs", runs)):
        if value < 1:
            raise InvalidRequestError(f"{name} must be at least 1, not {value}", param=name)
    if horizon * runs > _MOST_PULLS:
        raise InvalidRequestError(
            f"{horizon} rounds of {runs} runs are more than {_MOST_PULLS:,} pulls",
            param="horizon",
            hint="a shorter horizon, or fewer runs",
        )
    if hasattr(selector, "update"):
        raise ConfigurationError(
            f"selector {selector.name!r} keeps by itself what it learns: runs would share it"
        )
    n_arms, delay = len(environment.arms), environment.delay
    if n_arms >= _MOST_ARMS:
        raise InvalidRequestError(f"{n_arms} arms are too many: below {_MOST_ARMS} will do")
    luck, choices = (np.random.default_rng([seed, stream]) for stream in (0, 2))
    # Of numpy's generators the fastest: half of a simulated Thompson decision is drawing.
    draws = np.random.Generator(np.random.SFC64([seed, 1]))
    episode = environment.episode(horizon, runs, luck)
    ledger = Ledger(
        selector,
        environment.n_segments,
        n_arms,
        runs,
        horizon=horizon,
        delay=delay,
        seen=environment.seen,
    )
    pulled = np.empty((horizon, runs), dtype=np.int16)
    for t in range(horizon):
        segments, candidates = episode.segments(t), episode.candidates(t)
        scores = selector.scores(ledger.evidence(segments), candidates, draws)
        if scores.shape != (runs, n_arms):  # as of a selector that looks at candidates only
            scores = np.broadcast_to(scores, (runs, n_arms))
        arms = choose_each(scores, candidates.eligible, selector.floor, choices)
        pulled[t] = arms
        ledger.open(t, arms, segments, candidates.features)
        if t >= delay:
            ledger.close(t - delay, episode.reveal(t - delay, ledger.pulls(t - delay)))
        on_round(t + 1)
    return Trace(environment, episode, pulled)
