"""Several nodes that choose for themselves and tell each other, now and then, what they saw."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from orchestrator.analysis.environments import Bernoulli, alike
from orchestrator.analysis.tally import IntArray
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.regressions import columns_added, kind_of, n_features_of
from orchestrator.core.selector import Candidates, Selector
from orchestrator.core.statistics import Column, MergeRow, Outcome, Statistics
from orchestrator.core.views import View
from orchestrator.selectors.choice import choose

__all__ = ["FleetTrace", "Network", "simulate_fleet"]

_Rows: TypeAlias = list[MergeRow]
_Deltas: TypeAlias = list[tuple[int, float]]
_SEGMENT: Final = "all"
_RECENT_MINUTES: Final = 5
"""Rows ended this long ago are sent again, so that what a lost message held comes with a later."""


@dataclass(frozen=True, slots=True)
class Network:
    """How nodes hear of each other: every message holds sums, not increments.

    Attributes:
        every_s: Seconds between exchanges, above 0.
        lost: Chance in [0, 1] that a message never arrives.
        late: Chance in [0, 1] that it arrives with the next exchange, when it is old.
        again: Chance in [0, 1] that it arrives then as well.
    """

    every_s: float
    lost: float = 0.1
    late: float = 0.1
    again: float = 0.1

    def __post_init__(self) -> None:
        if not self.every_s > 0:
            raise InvalidRequestError(f"every_s must be above 0, not {self.every_s!r}")
        for name in ("lost", "late", "again"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidRequestError(f"{name} lies in [0, 1], not at {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True, eq=False)
class FleetTrace:
    """What a fleet did, and what its nodes know in the end.

    Attributes:
        arms: The pulls, shape ``(horizon,)``.
        regret: Cumulative, shape ``(horizon,)``.
        nodes: What every node knows after a last exchange in which nothing is lost.
        views: What every node's selector reads, likewise.
        one: What one node would know that had done all of it alone.
    """

    arms: IntArray
    regret: FloatArray
    nodes: tuple[Statistics, ...]
    views: tuple[View, ...]
    one: Statistics


def simulate_fleet(
    selector: Selector,
    environment: Bernoulli,
    *,
    nodes: int,
    network: Network,
    horizon: int,
    seed: int,
    per_second: float = 10.0,
) -> FleetTrace:
    """Play so many rounds, each on a node drawn at random, with statistics and views as served.

    Rewards of a seed are the same however many nodes there are and whatever they choose.

    Args:
        selector: Chooses; every node has its own evidence. One that learns from features is told
            some that say nothing of the rewards.
        environment: Answers at once.
        nodes: At least 1.
        network: Between them.
        horizon: Rounds of all nodes together, at least 1.
        seed: The same seed, the same trace.
        per_second: Rounds of all nodes together, above 0.

    Raises:
        InvalidRequestError: There is nothing to play, or the environment delays its answers.
    """
    if nodes < 1 or horizon < 1 or not per_second > 0:
        raise InvalidRequestError("nodes, horizon and per_second: there is nothing to play")
    if environment.delay:
        raise InvalidRequestError("a fleet's outcomes are seen at once", param="environment")
    luck, draws, told = (np.random.default_rng([seed, stream]) for stream in range(3))
    n_features = n_features_of(selector.n_extra) if selector.n_extra else 0
    chance, post = random.Random(f"{seed}/choices"), _Post(network, random.Random(f"{seed}/post"))
    team = [_Node(f"n{number}", selector, environment.arms) for number in range(nodes)]
    one = Statistics("one")
    episode = environment.episode(horizon, 1, luck)
    candidates = Candidates(*(known[0] for known in alike(len(environment.arms))[:7]))
    pulled = np.empty((horizon, 1), dtype=np.intp)
    exchanged = 0
    for t in range(horizon):
        now = t / per_second
        minute = int(now // 60)
        for node in team:
            node.advance(minute)
        if now // network.every_s > exchanged:
            exchanged = int(now // network.every_s)
            post.exchange(team, minute)
        node = team[chance.randrange(nodes)]
        features = told.normal(size=n_features) if n_features else None
        asked = candidates._replace(features=features)
        scores = selector.scores(node.view.evidence(_SEGMENT), asked, draws)
        arm = choose(scores, candidates.eligible, selector.floor, chance).arm
        pulled[t] = arm
        reward = float(episode.reveal(t, pulled[t])[0])
        deltas = _deltas(reward, chance)
        node.learn(minute, environment.arms[arm], deltas, features)
        _add(one, minute, environment.arms[arm], deltas, features)
    post.settle(team)
    return FleetTrace(
        pulled[:, 0],
        episode.gaps(0, pulled)[:, 0].cumsum(),
        tuple(node.statistics for node in team),
        tuple(node.view for node in team),
        one,
    )


class _Node:
    def __init__(self, name: str, selector: Selector, arms: Sequence[str]) -> None:
        self.statistics = Statistics(name)
        self.view = View(
            selector.memory, arms, segmented=selector.segmented, n_extra=selector.n_extra
        )
        # Rewards are qualities: every node has to judge by them from its first round.
        self.view.rate_quality()

    def advance(self, minute: int) -> None:
        self.statistics.advance(minute)
        self.view.advance(minute)

    def learn(self, minute: int, arm: str, deltas: _Deltas, features: FloatArray | None) -> None:
        _add(self.statistics, minute, arm, deltas, features)
        self.view.add(minute, _SEGMENT, arm, deltas, features)

    def own_rows(self, since: int) -> _Rows:
        """Return a copy of the rows that this node writes."""
        return [
            (row_id, row.version, row.sums.copy())
            for row_id, row in self.statistics.rows()
            if row_id.node == self.statistics.node and row_id.start + row_id.width > since
        ]

    def hear(self, rows: _Rows) -> None:
        self.view.replay(self.statistics.merge(rows))


class _Post:
    """Carries messages, badly."""

    def __init__(self, network: Network, rng: random.Random) -> None:
        self._network, self._rng = network, rng
        self._held: list[tuple[_Node, _Rows]] = []

    def exchange(self, team: Sequence[_Node], minute: int) -> None:
        """Let every node write to every other."""
        network, rng = self._network, self._rng
        arriving, self._held = self._held, []
        for sender in team:
            rows = sender.own_rows(minute - _RECENT_MINUTES)
            for receiver in team:
                if receiver is sender or rng.random() < network.lost:
                    continue
                late = rng.random() < network.late
                (self._held if late else arriving).append((receiver, rows))
                if rng.random() < network.again:
                    self._held.append((receiver, rows))
        self._deliver(arriving)

    def settle(self, team: Sequence[_Node]) -> None:
        """Let everybody hear everything, what is under way among it."""
        whole = [(sender, sender.own_rows(0)) for sender in team]
        self._deliver(
            self._held
            + [(receiver, rows) for s, rows in whole for receiver in team if receiver is not s]
        )

    def _deliver(self, messages: list[tuple[_Node, _Rows]]) -> None:
        self._rng.shuffle(messages)
        for receiver, rows in messages:
            receiver.hear(self._rng.sample(rows, len(rows)))


def _add(
    statistics: Statistics, minute: int, arm: str, deltas: _Deltas, features: FloatArray | None
) -> None:
    statistics.add(minute, _SEGMENT, arm, deltas)
    if features is not None:
        columns = columns_added(deltas, features, len(features))
        assert columns is not None, "every pull is answered"
        statistics.add_array(minute, kind_of(len(features)), arm, columns)


def _deltas(reward: float, rng: random.Random) -> _Deltas:
    """Return what a rated call adds: its cost and length are of no matter but to be summed up."""
    outcome = Outcome(
        ok=True,
        cost_usd=rng.lognormvariate(-7.0, 1.0),
        tokens_in=rng.randrange(10, 2000),
        tokens_out=rng.randrange(1, 500),
        seconds=rng.lognormvariate(0.0, 0.5),
    )
    return [
        (Column.OPENED, 1.0),
        *outcome.deltas(),
        (Column.N_QUALITY, 1.0),
        (Column.QUALITY, reward),
        (Column.QUALITY_SQ, reward * reward),
    ]
