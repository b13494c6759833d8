"""What the runs of a simulation remember, as their selector's memory has it."""

from __future__ import annotations

import numpy as np

from orchestrator.analysis.environments import Seen
from orchestrator.analysis.tally import IntArray, Tally
from orchestrator.core.changes import MIN_KNOWN, ChangeDetector
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.regressions import Regressions, n_features_of
from orchestrator.core.selector import Selector
from orchestrator.core.views import Evidence

__all__ = ["Ledger"]


class Ledger:
    """The evidence of many runs, of which one round is one second is one bucket of time.

    A window holds exactly the last ``window_s`` rounds; a half-life fades by the round, and the
    last round counts in full; an adaptive memory looks for changes after every round. A reward
    belongs to the round of its pull, however late it comes. What is known beforehand lies in no
    round: it fades, and stays outside of a window.

    Args:
        selector: Says what is to be remembered.
        n_segments: Kinds of rounds.
        n_arms: Arms of every run.
        runs: Independent runs.
        horizon: Rounds to come.
        delay: Rounds after which rewards are seen.
        seen: What every run knows beforehand, or None.

    Raises:
        ConfigurationError: The selector asks for what a simulation does not keep.
    """

    def __init__(
        self,
        selector: Selector,
        n_segments: int,
        n_arms: int,
        runs: int,
        *,
        horizon: int,
        delay: int = 0,
        seen: Seen | None = None,
    ) -> None:
        memory = selector.memory
        self._window = None if memory.window_s is None else int(memory.window_s)
        self._fading = 1.0 if memory.half_life_s is None else 0.5 ** (1 / memory.half_life_s)
        self._delay = delay
        self._n_arms, self._lanes = n_arms, np.arange(runs)
        self._segmented = selector.segmented
        self._total = Tally(1, n_arms, runs, adapts=memory.adaptive)
        self._segments: Tally | None = None
        if self._segmented and n_segments > 1:
            self._segments = Tally(n_segments, n_arms, runs, adapts=memory.adaptive)
        self._detector = ChangeDetector(runs * n_arms) if memory.adaptive else None
        # Rounds whose rewards are yet to be seen, or yet to be forgotten.
        kept = min(max(delay, self._window or 0) + 1, horizon)
        self._arms, self._groups = np.zeros((2, kept, runs), dtype=np.intp)
        self._rewards = np.zeros((kept, runs))
        self._extra: Regressions | None = None
        if selector.n_extra:
            if self._fading < 1.0 or seen is not None:
                raise ConfigurationError(
                    f"selector {selector.name!r} learns from features, which a simulation can "
                    "neither let fade nor know of beforehand"
                )
            n_features = n_features_of(selector.n_extra)
            self._extra = Regressions((runs, n_arms), n_features)
            self._extra.rate_quality()
            self._features = np.zeros((kept, runs, n_features))
        if seen is not None:
            sums = (seen.n, seen.quality, seen.quality_sq)
            if self._segments is not None:
                self._segments.add(*sums)
            self._total.add(*(held.sum(axis=0, keepdims=True) for held in sums))

    def evidence(self, segments: IntArray | None) -> Evidence:
        """Return what to decide the round on; it changes with what comes next."""
        of_segment = self._total.first if self._segmented else None
        if self._segments is not None and segments is not None:
            of_segment = self._segments.of(segments)
        return Evidence(self._total.first, of_segment, self._extra)

    def open(
        self,
        t: int,
        arms: IntArray,
        segments: IntArray | None,
        features: FloatArray | None = None,
    ) -> None:
        """Count the pulls of round ``t``, with which what it pushes out is forgotten."""
        if self._fading < 1.0 and t:
            for tally in self._tallies():
                tally.fade(self._fading)
        if self._window is not None and t >= self._window:
            self._count(t - self._window, -1.0)
            if self._delay < self._window:
                self._take(t - self._window, -1.0)
        slot = t % len(self._arms)
        self._arms[slot] = arms
        self._groups[slot] = 0 if segments is None else segments
        if self._extra is not None and features is not None:
            self._features[slot] = features
        self._count(t, 1.0)

    def pulls(self, t: int) -> IntArray:
        """Return the pulls of a round whose rewards are yet to be seen."""
        return np.asarray(self._arms[t % len(self._arms)])

    def close(self, t: int, rewards: FloatArray) -> None:
        """Take the rewards of round ``t``, now that they are seen."""
        self._rewards[t % len(self._arms)] = rewards
        if self._detector is not None:
            self._adapt(t, self._detector)
        elif self._window is None or self._delay < self._window:
            self._take(t, self._fading**self._delay)

    # ------------------------------------------------------------------------------------------

    def _adapt(self, t: int, detector: ChangeDetector) -> None:
        """Take the rewards of round ``t``, and forget what arms were before they changed."""
        slot = t % len(self._arms)
        arms, groups, rewards = self._arms[slot], self._groups[slot], self._rewards[slot]
        own = self._total if self._segments is None else self._segments
        n, expected = own.known(arms, None if self._segments is None else groups)
        tested = np.flatnonzero(n >= MIN_KNOWN)
        self._take(t, 1.0)
        if not tested.size:
            return
        streams = (self._lanes * self._n_arms + arms)[tested]
        one_each = np.ones(len(tested))
        changes = detector.add(streams, one_each, rewards[tested], expected[tested])
        if changes.streams.size:
            lanes, changed = np.divmod(changes.streams, self._n_arms)
            added = own.revise(changed, lanes, changes.share, changes.shift)
            if self._segments is not None:
                self._total.change(changed, lanes, added[:, None])

    def _tallies(self) -> tuple[Tally, ...]:
        return (self._total,) if self._segments is None else (self._total, self._segments)

    def _count(self, t: int, weight: float) -> None:
        slot = t % len(self._arms)
        self._total.open(self._arms[slot], None, weight)
        if self._segments is not None:
            self._segments.open(self._arms[slot], self._groups[slot], weight)

    def _take(self, t: int, weight: float) -> None:
        slot = t % len(self._arms)
        self._total.close(self._arms[slot], None, self._rewards[slot], weight)
        if self._segments is not None:
            self._segments.close(self._arms[slot], self._groups[slot], self._rewards[slot], weight)
        if self._extra is not None:
            where = (self._lanes, self._arms[slot])
            rewards = weight * self._rewards[slot]
            self._extra.update(where, self._features[slot], weight, rewards)
