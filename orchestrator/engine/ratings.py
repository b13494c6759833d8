"""How good answers were, as callers and evaluators say."""

from __future__ import annotations

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.decisions import Decision
from orchestrator.core.events import FeedbackRecorded
from orchestrator.core.ports import EarlierDecision
from orchestrator.core.statistics import minute_of
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.trials import Trials

__all__ = ["Ratings"]


class Ratings:
    """Takes the quality of answers, one for each decision.

    Args:
        recorder: Keeps them.
        trials: Experiments on them.
        bus: Told of each.
        clock: Time.
    """

    def __init__(self, recorder: Recorder, trials: Trials, bus: EventBus, clock: Clock) -> None:
        self._recorder = recorder
        self._trials = trials
        self._bus = bus
        self._clock = clock

    def rate(
        self,
        decision_id: str,
        quality: float,
        evaluator: str | None = None,
        earlier: EarlierDecision | None = None,
    ) -> None:
        """Take a quality; errors as `Recorder.rate`.

        Args:
            decision_id: Whose.
            quality: In [0, 1].
            evaluator: Who says so; None is a caller.
            earlier: What the store knows of the decision, where the recorder knows nothing.
        """
        self._recorder.advance(minute_of(self._clock.wall()))
        before, changed = self._recorder.rate(decision_id, quality, earlier)
        self._trials.rated(decision_id, quality)
        if changed and self._bus.wants(FeedbackRecorded):
            self._bus.publish(
                FeedbackRecorded(
                    at=self._clock.monotonic(),
                    wall=self._clock.wall(),
                    decision_id=decision_id,
                    model=before.key,
                    quality=float(quality),
                    corrected=before.quality is not None,
                    evaluator=evaluator,
                )
            )

    def rate_unrated(self, decision: Decision, quality: float, evaluator: str) -> None:
        """Take what an evaluator says, unless a caller has said something, or it is forgotten."""
        known = self._recorder.log.find(decision.sequence, self._recorder.minute)
        if known is not None and known.quality is None:
            self.rate(decision.id, quality, evaluator)
