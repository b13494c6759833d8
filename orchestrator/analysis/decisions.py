"""Logged decisions as arrays: what could be chosen, what was, how likely that was, what came of it.

`orchestrator.analysis.exports` reads files. A store is read a page at a time::

    gathered = Gathered()
    async for page in store.entries():
        gathered.add(page)
    log = gathered.log()
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from orchestrator.analysis.ope import Log, PropensityError
from orchestrator.core.errors import RequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import BoolArray

__all__ = ["READ", "DecisionLog", "DecisionLogError", "Gathered", "Metric"]

Metric: TypeAlias = Literal["quality", "success", "cost_usd"]

_Entry: TypeAlias = Mapping[str, Any]
_Ints: TypeAlias = npt.NDArray[np.int64]

_NUMBERS: Final = (
    *("wall", "propensity", "cost_usd", "tokens_in", "tokens_out", "seconds"),
    *("first_token_s", "ended_wall", "quality", "rated_wall"),
)
_NEEDED: Final = ("wall", "cost_usd", "tokens_in", "tokens_out", "seconds", "ended_wall")
"""What is known of a call that says something of its model."""
READ: Final = ("decision_id", "model", "segment", "eligible", "features", *_NUMBERS, "ok", "counts")
"""The columns of `orchestrator.store.entries` that are read."""


class DecisionLogError(RequestError):
    """A file holds no decisions, or some that cannot be true.

    Attributes:
        row: Which of its decisions, the first being 1; None if it is not one of them.
    """

    code = "bad_decision_log"

    def __init__(self, problem: str, *, row: int | None = None, hint: str | None = None) -> None:
        super().__init__(problem if row is None else f"decision {row}: {problem}", hint=hint)
        self.row = row


@dataclass(frozen=True, slots=True, eq=False)
class DecisionLog:
    """Decisions in the order of time; arrays have shape ``(n,)`` unless it is said.

    Attributes:
        models: The arms: every model that could ever be chosen.
        segments: Names of the segments.
        arm: Position of the chosen model in ``models``.
        segment: Position in ``segments``.
        eligible_sets: The sets of models that could be chosen, shape ``(n_sets, n_models)``.
        eligible_set: Which of them.
        features: Of the requests, shape ``(n, n_features)``, 0 where there are none; or None.
        numbers: By column of an export, nan where not known: ``wall``, ``propensity``,
            ``cost_usd``, ``tokens_in``, ``tokens_out``, ``seconds``, ``first_token_s``,
            ``ended_wall``, ``quality``, ``rated_wall``.
        ok: Whether it was answered.
        counts: Whether it has ended in a way that says something of the model.
    """

    models: tuple[str, ...]
    segments: tuple[str, ...]
    arm: _Ints
    segment: _Ints
    eligible_sets: BoolArray
    eligible_set: _Ints
    features: FloatArray | None
    numbers: Mapping[str, FloatArray]
    ok: BoolArray
    counts: BoolArray

    def __len__(self) -> int:
        return len(self.arm)

    def rated_by(self) -> Metric:
        """Return what says how good an answer was: quality, or success where nobody gave any."""
        return "success" if np.isnan(self.numbers["quality"]).all() else "quality"

    def rewards(self, metric: Metric) -> tuple[Log, _Ints]:
        """Return the decisions whose reward is known, for estimates, and which these are.

        Raises:
            DecisionLogError: There is none.
        """
        reward = self.ok.astype(np.float64) if metric == "success" else self.numbers[metric]
        known = np.flatnonzero(np.isfinite(reward) & (self.counts | (metric == "quality")))
        if not known.size:
            raise DecisionLogError(
                f"no decision has a known {metric}", hint="log calls that end, and rate answers"
            )
        propensity = self.numbers["propensity"][known]
        return Log(self.arm[known], propensity, reward[known], self.segment[known]), known


class Gathered:
    """Collects decisions, as exports and stores have them, into a `DecisionLog`."""

    def __init__(self) -> None:
        self._models: dict[str, int] = {}
        self._segments: dict[str, int] = {}
        self._sets: dict[str, tuple[int, frozenset[int]]] = {}
        self._ids: set[str] = set()
        self._places: list[tuple[int, int, int]] = []
        self._numbers: list[tuple[float, ...]] = []
        self._flags: list[tuple[bool, bool]] = []
        self._features: list[list[float] | None] = []

    def __len__(self) -> int:
        return len(self._places)

    def add(self, entries: Iterable[_Entry]) -> None:
        """Add decisions with the columns of `orchestrator.store.entries`, not known being None.

        Raises:
            PropensityError: A choice had no probability.
            DecisionLogError: Another value cannot be true, or a decision is there twice.
        """
        for entry in entries:
            self._add(entry, len(self._places) + 1)

    def log(self) -> DecisionLog:
        """Return what was gathered.

        Raises:
            DecisionLogError: That is nothing, or features of different lengths.
        """
        if not self._places:
            raise DecisionLogError("there is no decision in it")
        eligible = np.zeros((len(self._sets), len(self._models)), dtype=np.bool_)
        for number, arms in self._sets.values():
            eligible[number, list(arms)] = True
        numbers = np.array(self._numbers, dtype=np.float64)
        order = np.argsort(numbers[:, _NUMBERS.index("wall")], kind="stable")
        arm, segment, chosen_from = np.array(self._places, dtype=np.int64)[order].T
        ok, counts = np.array(self._flags, dtype=np.bool_)[order].T
        features = self._vectors()
        return DecisionLog(
            tuple(self._models),
            tuple(self._segments),
            arm,
            segment,
            eligible,
            chosen_from,
            None if features is None else features[order],
            dict(zip(_NUMBERS, numbers[order].T, strict=True)),
            ok,
            counts,
        )

    # ------------------------------------------------------------------------------------------

    def _add(self, entry: _Entry, row: int) -> None:
        numbers = tuple(_number(entry, name, row) for name in _NUMBERS)
        propensity = numbers[_NUMBERS.index("propensity")]
        if not 0 < propensity <= 1:
            raise PropensityError(
                f"decision {row}, {entry['decision_id']}: a propensity of {propensity!r} lies "
                "outside (0, 1]",
                param="propensity",
                hint="what was chosen had a probability; leave such decisions out",
            )
        known = {name for name, value in zip(_NUMBERS, numbers, strict=True) if value == value}
        needed = _NEEDED if entry["counts"] else ("wall",)
        if not known.issuperset(needed):
            lacking = ", ".join(name for name in needed if name not in known)
            raise DecisionLogError(f"{lacking} is not known", row=row)
        number, arms = self._eligible(entry, row)
        arm = self._models.get(entry["model"])
        if arm is None or arm not in arms:
            raise DecisionLogError(
                f"model {entry['model']!r} is not among those that could be chosen", row=row
            )
        if entry["decision_id"] in self._ids:
            raise DecisionLogError(
                f"{entry['decision_id']} is there twice",
                row=row,
                hint="of exports that overlap, keep each decision once",
            )
        self._ids.add(entry["decision_id"])
        segment = self._segments.setdefault(entry["segment"], len(self._segments))
        self._places.append((arm, segment, number))
        self._numbers.append(numbers)
        self._flags.append((bool(entry["ok"]), bool(entry["counts"])))
        self._features.append(_json_list(entry, "features", row) if entry["features"] else None)

    def _eligible(self, entry: _Entry, row: int) -> tuple[int, frozenset[int]]:
        text = entry["eligible"]
        found = self._sets.get(text)
        if found is None:
            names = _json_list(entry, "eligible", row)
            arms = (self._models.setdefault(name, len(self._models)) for name in names)
            found = self._sets[text] = (len(self._sets), frozenset(arms))
        return found

    def _vectors(self) -> FloatArray | None:
        lengths = {len(vector) for vector in self._features if vector is not None}
        if not lengths:
            return None
        if len(lengths) > 1:
            raise DecisionLogError(f"feature vectors have {sorted(lengths)} numbers, not as many")
        nothing = [0.0] * lengths.pop()
        return np.array([vector or nothing for vector in self._features], dtype=np.float64)


def _number(entry: _Entry, name: str, row: int) -> float:
    """Return a number of an entry; nan where it is not known."""
    value = entry[name]
    if value is None:
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if name == "propensity":
        return number  # judged by itself, with an error of its own
    high = 1.0 if name == "quality" else sys.float_info.max
    if not 0 <= number <= high:
        bounds = "in [0, 1]" if name == "quality" else "a finite number of at least 0"
        raise DecisionLogError(f"{name} must be {bounds}, not {value!r}", row=row)
    return number


def _json_list(entry: _Entry, name: str, row: int) -> list[Any]:
    """Return the texts or the numbers of a column."""
    kinds = (str,) if name == "eligible" else (int, float)
    try:
        found = orjson.loads(entry[name])
    except (TypeError, ValueError):
        found = None
    if not (isinstance(found, list) and all(isinstance(each, kinds) for each in found)):
        what = "texts" if name == "eligible" else "numbers"
        raise DecisionLogError(f"{name} is not a JSON list of {what}: {entry[name]!r}", row=row)
    return found
