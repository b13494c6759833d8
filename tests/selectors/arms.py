"""Arms with a history, as selectors see them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from orchestrator.core.estimates import Estimates, FloatArray
from orchestrator.core.regressions import Regressions, n_features_of
from orchestrator.core.selector import Candidates, Selector
from orchestrator.core.statistics import COLUMNS, Column, Outcome
from orchestrator.core.views import Evidence

GIVEN = ("eligible", "cost_usd", "penalty", "priority", "local", "streaming", "speed")


def sums_of(*arms: list[tuple[int, float]]) -> FloatArray:
    """Add up what happened to each arm: shape ``(n_columns, n_arms)``."""
    sums = np.zeros((len(COLUMNS), len(arms)))
    for arm, deltas in enumerate(arms):
        for column, delta in deltas:
            sums[column, arm] += delta
    return sums


def calls(
    n: int, n_ok: int | None = None, *, pending: int = 0, seconds: float = 1.0, tokens: int = 10
) -> list[tuple[int, float]]:
    """Return what so many calls, of which so many succeeded, add to an arm."""
    n_ok = n if n_ok is None else n_ok
    one = Outcome(True, seconds=seconds, tokens_out=tokens).deltas()
    failures = [(Column.CALLS, n - n_ok), (Column.CLOSED, n - n_ok)]
    return [
        (Column.OPENED, n + pending),
        *((column, float(delta)) for column, delta in failures),
        *((column, n_ok * delta) for column, delta in one),
    ]


def rated(mean: float, n: int) -> list[tuple[int, float]]:
    """Return what so many ratings, each won or lost, with this mean add to an arm."""
    won = mean * n
    return [
        *((column, float(n)) for column in (Column.OPENED, Column.CLOSED, Column.CALLS, Column.OK)),
        (Column.N_QUALITY, n),
        (Column.QUALITY, won),
        (Column.QUALITY_SQ, won),
    ]


def evidence_of(
    sums: FloatArray, selector: Selector | None = None, *, rates_quality: bool | None = None
) -> Evidence:
    """Return what a selector that asks for it would read; the segment saw half of everything.

    Each arm's regression has seen requests of one kind, another for each.
    """
    if rates_quality is None:
        rates_quality = bool(sums[Column.N_QUALITY].any())
    total = Estimates.of(sums, rates_quality=rates_quality)
    if selector is None or not (selector.segmented or selector.n_extra):
        return Evidence(total)
    segment = Estimates.of(sums / 2, rates_quality=rates_quality)
    extra = regressions_of(total, selector.n_extra) if selector.n_extra else None
    return Evidence(total, segment, extra)


def regressions_of(total: Estimates, n_extra: int) -> Regressions:
    """Return regressions in which each arm has seen requests of one kind, by its mean."""
    shape = total.mean.shape
    found = Regressions(shape, n_features_of(n_extra))
    for where in np.ndindex(*shape):
        n, mean = total.n[where], total.mean[where]
        features = np.resize([mean, 1 - mean, -0.5], found.n_features)
        found.update(tuple(np.array(i) for i in where), features, n, n * mean)
    return found


def one_arm(mean: float, n: int) -> Estimates:
    return Estimates.of(sums_of(rated(mean, n)))


def candidates(shape: int | tuple[int, ...], **known: Any) -> Candidates:
    """Return candidates of which nothing sets one apart but what is given."""
    features, keys = known.pop("features", None), known.pop("keys", ())
    facts: dict[str, Any] = {
        "eligible": np.ones(shape, dtype=np.bool_),
        "cost_usd": np.zeros(shape),
        "penalty": np.zeros(shape),
        "priority": np.zeros(shape),
        "local": np.zeros(shape, dtype=np.bool_),
        "streaming": np.zeros(shape, dtype=np.bool_),
        "speed": np.full(shape, np.nan),
    }
    for name, value in known.items():
        facts[name] = np.broadcast_to(np.array(value, dtype=facts[name].dtype), shape)
    return Candidates(**facts, features=features, keys=keys)


def frozen(arrays: Any) -> Any:
    """Make every array of what is given read-only, in depth, and return it."""
    if isinstance(arrays, Estimates):
        _ = arrays.seconds  # some of it is derived when it is first read
    names = getattr(arrays, "_fields", None) or arrays.__slots__
    for name in names:
        value = getattr(arrays, name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        elif isinstance(value, Estimates | Regressions):
            frozen(value)
    return arrays


def score(selector: Selector, evidence: Evidence, known: Candidates, seed: int = 0) -> FloatArray:
    return selector.scores(frozen(evidence), frozen(known), np.random.default_rng(seed))


def best(selector: Selector, evidence: Evidence, **known: Any) -> int:
    """Return the arm that scores best of those that nothing keeps out."""
    found = candidates(evidence.total.mean.shape[-1], **known)
    scores = np.where(found.eligible, score(selector, evidence, found), -np.inf)
    return int(scores.argmax())


@st.composite
def histories(draw: st.DrawFn, n_arms: int) -> FloatArray:
    """Draw sums of some calls per arm, rated or not, some of them pending."""
    all_rated = draw(st.booleans())
    arms = []
    for _ in range(n_arms):
        n = draw(st.integers(0, 40))
        arm = calls(
            n,
            draw(st.integers(0, n)),
            pending=draw(st.integers(0, 3)),
            seconds=draw(st.floats(0.1, 30)),
            tokens=draw(st.integers(1, 500)),
        )
        if all_rated and draw(st.booleans()):
            quality = draw(st.floats(0, 1))
            arm += [
                (Column.N_QUALITY, n),
                (Column.QUALITY, n * quality),
                (Column.QUALITY_SQ, n * quality**2),
            ]
        arms.append(arm)
    return sums_of(*arms)


@st.composite
def known(draw: st.DrawFn, n_arms: int) -> Candidates:
    """Draw candidates, at least one of them eligible."""

    def some(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=n_arms, max_size=n_arms))

    eligible = some(st.booleans())
    eligible[draw(st.integers(0, n_arms - 1))] = True
    costs = st.sampled_from([0.0, 0.001, 0.01, 2.0, np.nan])
    return candidates(
        n_arms,
        eligible=eligible,
        cost_usd=some(costs),
        penalty=some(st.floats(0, 1)),
        priority=some(st.integers(-3, 100)),
        local=some(st.booleans()),
        streaming=some(st.booleans()),
        speed=some(st.sampled_from([np.nan, 5.0, 50.0])),
    )


def stacked(runs: list[Candidates]) -> Candidates:
    """Put candidates of several runs together along a leading axis."""
    facts: dict[str, Any] = {name: np.stack([getattr(run, name) for run in runs]) for name in GIVEN}
    if runs[0].features is not None:
        facts["features"] = np.stack([run.features for run in runs if run.features is not None])
    return Candidates(**facts)


def permuted(known: Candidates, order: list[int]) -> Candidates:
    """Return the candidates with their arms in another order."""
    return known._replace(**{name: getattr(known, name)[order] for name in GIVEN})
