"""Experiments on live requests: who gets which variant, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

from orchestrator.core.decisions import Decision
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.events import ExperimentConcluded
from orchestrator.core.ports import ExperimentShare
from orchestrator.engine.recorder import Recorder
from orchestrator.selectors.experiment import Assignment, Conclusion, Experiment, ExperimentPlan

__all__ = ["Trial", "Trials"]

_FORMAT: Final = 1
"""Of what an experiment keeps; evidence of another is not understood."""


class Trial(NamedTuple):
    """One request's part in an experiment."""

    experiment: Experiment
    assignment: Assignment

    @property
    def variant(self) -> str:
        """Name of the route or model that serves it."""
        return self.experiment.plan.variants[self.assignment.variant]

    @property
    def propensity(self) -> float:
        """How likely this variant was."""
        return self.assignment.propensity


class Trials:
    """The experiments of one engine.

    What each has seen is added to what other processes, and this one before it was restarted, have
    seen of the same plan; only our own share is kept under our name.

    Args:
        node: Name of this process.
        plans: What is compared.
        recorder: Knows the qualities that came before the answer was whole.
        say: Publishes an event of a kind with these facts, if anybody wants it.

    Attributes:
        experiments: By name, as they stand.

    Raises:
        ConfigurationError: Two have the same name.
    """

    def __init__(
        self,
        node: str,
        plans: Iterable[ExperimentPlan],
        recorder: Recorder,
        say: Callable[..., None],
    ) -> None:
        self.experiments: dict[str, Experiment] = {}
        self._node = node
        self._others: dict[str, list[ExperimentShare]] = {}
        self._recorder = recorder
        self._say = say
        self._unrated: dict[str, Trial] = {}
        """By decision, the oldest first."""
        for plan in plans:
            self.check_free([plan.name])
            self.experiments[plan.name] = Experiment(plan)

    def restore(self, shares: Iterable[ExperimentShare]) -> None:
        """Go on from what has been seen, where nothing has been seen yet in this process."""
        seen = list(shares)
        for name, experiment in self.experiments.items():
            if experiment.n_units:
                continue
            plan = experiment.plan
            known = [s for s in seen if (s.experiment, s.plan) == (name, _fingerprint(plan))]
            self.experiments[name] = Experiment(plan, *_added(experiment, known, 1))
            self._others[name] = [share for share in known if share.node != self._node]

    def shares(self) -> list[ExperimentShare]:
        """Return what this process has seen of its experiments."""
        return [
            ExperimentShare(
                self._node,
                name,
                _fingerprint(experiment.plan),
                *_added(experiment, self._others.get(name, ()), -1),
            )
            for name, experiment in self.experiments.items()
            if experiment.n_units
        ]

    def check_free(self, names: Iterable[str]) -> None:
        """Refuse names that an experiment has.

        Raises:
            ConfigurationError: It has one of them.
        """
        for name in names:
            if name in self.experiments:
                raise ConfigurationError(f"there is an experiment {name!r} already")

    def assign(self, name: str, unit: str) -> Trial:
        """Return what a unit gets of the experiment of this name."""
        experiment = self.experiments[name]
        return Trial(experiment, experiment.assign(unit))

    def answered(self, trial: Trial, decision: Decision) -> None:
        """The request was answered: its reward is the quality of that, when it comes."""
        if trial.experiment.plan.reward == "success":
            self._record(trial, 1.0)
            return
        log = self._recorder.log
        known = log.find(decision.sequence, decision.bucket)
        if known is not None and known.quality is not None:
            self._record(trial, known.quality)
            return
        self._unrated[decision.id] = trial
        if len(self._unrated) > log.limit:
            del self._unrated[next(iter(self._unrated))]

    def rated(self, decision_id: str, quality: float) -> None:
        """An answer has its quality."""
        trial = self._unrated.pop(decision_id, None)
        if trial is not None:
            self._record(trial, quality)

    def failed(self, trial: Trial) -> None:
        """The request got no answer from its variant, nor from what that falls back to."""
        self._record(trial, 0.0)

    def _record(self, trial: Trial, reward: float) -> None:
        conclusion = trial.experiment.record(trial.assignment, reward)
        if conclusion is not None:
            self._say(ExperimentConcluded, **_facts(conclusion))


def _fingerprint(plan: ExperimentPlan) -> str:
    """Return what tells plans apart under which evidence means another thing.

    When to stop is not among it: who wants to see more of an experiment need not begin anew.
    """
    told = (_FORMAT, plan.variants, plan.split, plan.reward, plan.adaptive, plan.floor, plan.alpha)
    return blake2b(repr(told).encode(), digest_size=16).hexdigest()


def _added(
    experiment: Experiment, shares: Iterable[ExperimentShare], sign: int
) -> tuple[tuple[tuple[float, ...], ...], bytes]:
    """Return sums and counted units of an experiment with shares added (1) or taken away (-1)."""
    sums = [list(row) for row in experiment.sums]
    counted = int.from_bytes(experiment.counted, "little")
    for share in shares:
        units = int.from_bytes(share.counted, "little")
        counted = counted | units if sign > 0 else counted & ~units
        for row, theirs in zip(sums, share.sums, strict=True):
            row[:] = (a + sign * b for a, b in zip(row, theirs, strict=True))
    return tuple(map(tuple, sums)), counted.to_bytes(len(experiment.counted), "little")


def _facts(conclusion: Conclusion) -> dict[str, object]:
    """Return the conclusion and its most telling comparison: the winner's, or the best loser's."""
    told = max(
        conclusion.comparisons, key=lambda c: (c.variant == conclusion.variant, c.difference)
    )
    return {
        "experiment": conclusion.experiment,
        "verdict": conclusion.verdict,
        "variant": conclusion.variant,
        "reason": conclusion.reason,
        "difference": told.difference,
        "low": told.low,
        "high": told.high,
        "p_value": told.p_value,
        "n": told.n,
        "n_control": told.n_control,
    }
