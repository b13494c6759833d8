"""The engine: one pool of models, one call, the best answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from orchestrator.core.decisions import Decision, parse_decision_id
from orchestrator.core.errors import InvalidRequestError, UnknownDecisionError
from orchestrator.core.metrics import ModelMetrics
from orchestrator.core.params import TextRequest, as_text_params
from orchestrator.core.requirements import as_count, as_limit
from orchestrator.core.statistics import Outcome, minute_of
from orchestrator.engine.contexts import DEFAULT_SEGMENT
from orchestrator.engine.explanation import Explanation
from orchestrator.engine.health import ModelHealth
from orchestrator.engine.local_models import LocalModels
from orchestrator.engine.measuring import Measuring
from orchestrator.engine.options import TextOptions, split
from orchestrator.engine.pool import Pool
from orchestrator.engine.requests import Requests
from orchestrator.routing.exploration import Explored
from orchestrator.routing.routes import AUTO

if TYPE_CHECKING:
    from orchestrator.engine.embedded_segments import ToldApart

__all__ = ["Orchestrator"]


class Orchestrator(Requests, Pool, LocalModels, Measuring):
    """Puts every model into one pool and answers each request with the best that may serve.

    Use it as ``async with Orchestrator(models=[...]) as orchestrator``.

    Its arguments are those of `Engine`.
    """

    @classmethod
    def from_config(cls, path: str | Path | None = None, **overrides: Any) -> Self:
        """Build from a configuration file and the environment; arguments beat both.

        ``models`` and ``routes`` join those of the file.

        Raises:
            ConfigurationError: The file or a value in it is wrong; the message says where.
        """
        from orchestrator.config import build

        return cls(**build(path, **overrides))

    # -- why -----------------------------------------------------------------------------------

    def explain(
        self,
        request: TextRequest | None = None,
        *,
        stream: bool = False,
        **options: Unpack[TextOptions],
    ) -> Explanation:
        """Say how a request would be decided now, model by model; nothing is recorded.

        Arguments as for `generate` or `stream`; without a request, as for `select_model`. Nobody
        is called: a text that was not embedded of late is explained in the default segment.
        """
        if request is None:
            ask = self._asking.for_selection(options)
        else:
            routing, needs, rest = split(options)
            params = as_text_params(request, rest)
            ask = self._asking.for_request(params, routing, needs, stream=stream)
        if ask.text is not None and self._parts.segments is not None:
            ask = ask._replace(segment=self._parts.segments.known(ask.text))
        return Explanation.of(
            self.registry.pool,
            self._parts.chooser.explain(ask),
            ask.segment,
            lambda resident: self._residency.cold_start(resident)[1],
        )

    def cost_weight(self, route: str = AUTO) -> float:
        """Return the points of quality that one USD weighs on a route."""
        return self._parts.chooser.cost_weight(self._routes.chain(route)[0])

    def decision(self, decision_id: str) -> Decision:
        """Return one of the last decisions as it was made.

        Raises:
            UnknownDecisionError: It is not among the last few, or not of this process.
        """
        parsed = parse_decision_id(decision_id)
        found = None if parsed is None else self._recorder.log.whole(parsed[2])
        if found is None or found.id != decision_id:
            raise UnknownDecisionError(
                f"the decision {decision_id!r} is not kept in full",
                hint="the last 256 are",
            )
        return found

    async def get_model_health(self, name: str) -> ModelHealth:
        """Return whether a model may be chosen, what speaks against it, and what was seen of it.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
        """
        return self._health.of(self.registry.resolve(name))

    def get_model_statistics(self) -> dict[str, dict[str, float]]:
        """Return every model's sums since the start; see `COLUMNS` for their units."""
        return self._recorder.totals()

    def get_model_metrics(self, name: str) -> ModelMetrics:
        """Return what a model has shown so far, over all requests.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
        """
        return ModelMetrics.of(self._recorder.totals().get(self.registry.resolve(name), {}))

    def update_model_performance(
        self,
        name: str,
        *,
        success: bool,
        latency_s: float = 0.0,
        cost_usd: float = 0.0,
        tokens_out: int = 0,
    ) -> None:
        """Take the outcome of a call that was made elsewhere.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            InvalidRequestError: A number is negative or none, or success is no truth value.
        """
        if success not in (True, False):
            raise InvalidRequestError(f"success is true or false, not {success!r}", param="success")
        outcome = Outcome(
            bool(success),
            as_limit("cost_usd", cost_usd),
            0,
            as_count("tokens_out", tokens_out),
            as_limit("latency_s", latency_s),
        )
        self._recorder.observe(
            self.registry.resolve(name), minute_of(self._clock.wall()), DEFAULT_SEGMENT, outcome
        )

    def reset_statistics(self) -> None:
        """Forget every outcome."""
        self._recorder.reset()
        self._parts.chooser.forget()

    def restore_credential(self, credential_id: str) -> None:
        """Try a refused credential again, since it has changed."""
        self._availability.restore_credential(credential_id)

    @property
    def spent_today_usd(self) -> float | None:
        """What the day's budget has paid so far, or None if there is no budget."""
        return None if self._budget is None else self._budget.spent(self._clock.wall())

    @property
    def told_apart(self) -> ToldApart | None:
        """How an embedding model has told requests apart so far, or None if none does."""
        return None if self._parts.segments is None else self._parts.segments.told_apart

    @property
    def explored_today(self) -> Explored | None:
        """What exploring has cost and brought today, or None if no ledger is kept of it."""
        ledger = self._exploration
        return None if ledger is None else ledger.today(self._clock.wall())
