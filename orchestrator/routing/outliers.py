"""Which models fail far more often than the others of their pool.

A comparison sees what no fixed threshold does: of models that nearly always answer, the one that
fails one call in five.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Final, NamedTuple

from orchestrator.routing.evidence import Tally

__all__ = ["Outlier", "find_outliers"]

_CHANCE: Final = 3.0
"""How many of its own standard errors a rate must lie below the mean: fewer are chance, in one
comparison of some 700."""


class Outlier(NamedTuple):
    """A model whose success rate is far below the others'.

    Attributes:
        model: Its key.
        rate: Its success rate.
        threshold: The rate below which it would be an outlier.
    """

    model: str
    rate: float
    threshold: float


def find_outliers(
    tallies: Mapping[str, Tally], *, deviations: float, min_models: int, min_calls: int
) -> list[Outlier]:
    """Return the outliers by success rate, the worst first.

    The threshold is the mean of the models' success rates less ``deviations`` of their standard
    deviations, as Envoy has it. When all models do about equally well that deviation is next to
    nothing, and somebody always is the worst; so a rate must also lie three standard errors of
    a rate over so many calls below the mean.

    Args:
        tallies: The calls of each model of late.
        deviations: Standard deviations below the mean. A lone outlier among n models lies at most
            sqrt(n - 1) of them below it, so that 1.9 finds none among fewer than five.
        min_models: With fewer models that have enough calls nobody is compared.
        min_calls: With fewer calls a model is not compared.

    Source:
        Envoy, "Outlier detection", success rate (``success_rate_stdev_factor`` 1.9,
        ``success_rate_minimum_hosts`` 5).
    """
    compared = {key: tally for key, tally in tallies.items() if tally.calls >= max(min_calls, 1)}
    if len(compared) < max(min_models, 2):
        return []
    rates = {key: 1 - tally.failures / tally.calls for key, tally in compared.items()}
    mean = sum(rates.values()) / len(rates)
    apart = deviations * sqrt(sum((rate - mean) ** 2 for rate in rates.values()) / len(rates))
    found = []
    for key, rate in rates.items():
        chance = _CHANCE * sqrt(mean * (1 - mean) / compared[key].calls)
        threshold = mean - max(apart, chance)
        if rate < threshold:
            found.append(Outlier(key, rate, threshold))
    return sorted(found, key=lambda outlier: outlier.rate)
