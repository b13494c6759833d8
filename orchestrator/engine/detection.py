"""Finds out what the models of one engine can do, and has requests routed by it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from orchestrator.core.capabilities import capability_mask, capability_names
from orchestrator.core.errors import InvalidRequestError, NoEligibleModelsError
from orchestrator.core.events import CapabilitiesChanged
from orchestrator.core.model import Model
from orchestrator.core.model_types import types_served_by
from orchestrator.core.requirements import as_count, as_limit
from orchestrator.engine.asking import Asking
from orchestrator.engine.parts import Parts
from orchestrator.engine.pinned import Pinned
from orchestrator.lifecycle.detection import (
    evidence_of_declaration,
    evidence_of_header,
    evidence_of_listing,
    listed_window,
)
from orchestrator.lifecycle.evidence import Evidence, Source, holding, joined, kept
from orchestrator.lifecycle.name_patterns import evidence_of_name
from orchestrator.lifecycle.probes import PROBES, Probe, finding_of_error

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator

__all__ = ["CapabilityReport", "Detector"]

_SEGMENT: Final = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityReport:
    """What a model can do, and how that is known.

    Attributes:
        model: Its key.
        capabilities: What requests are routed by.
        likely: What weaker sources suggest beyond that, such as its name.
        evidence: All there is, of each source its last word.
        context_window: Tokens its window holds, or None if unknown.
        unclear: Probes that were not made or have shown nothing, a sentence each.
        cost_usd: What the probes cost.
    """

    model: str
    capabilities: frozenset[str]
    likely: frozenset[str]
    evidence: tuple[Evidence, ...]
    context_window: int | None
    unclear: tuple[str, ...] = ()
    cost_usd: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "model": self.model,
            "capabilities": sorted(self.capabilities),
            "likely": sorted(self.likely),
            "evidence": [one.to_dict() for one in self.evidence],
            "context_window": self.context_window,
            "unclear": list(self.unclear),
            "cost_usd": self.cost_usd,
        }


class Detector:
    """Keeps the evidence on each model of one engine.

    Probes are requests like others, of the segment ``probe``: they count for budgets, health and
    statistics.

    Args:
        engine: Whose models.
        parts: What its requests share.
        asking: Writes what each of them asks.
        say: Publishes an event of a kind with these facts, if anybody wants it.
    """

    def __init__(
        self, engine: Orchestrator, parts: Parts, asking: Asking, say: Callable[..., None]
    ) -> None:
        self._engine = engine
        self._parts = parts
        self._asking = asking
        self._say = say
        self._known: dict[str, tuple[Model, tuple[Evidence, ...]]] = {}

    async def detect(
        self,
        name: str,
        *,
        header: Mapping[str, Any] | None = None,
        listing: Mapping[str, Any] | None = None,
        probe: bool | Collection[str] = False,
        max_cost: float | None = None,
        max_probes: int | None = None,
        weakest: Source = Source.HEADER,
    ) -> CapabilityReport:
        """Join what is known of a model's capabilities, and route requests by it from now on.

        What it declares, its name, and evidence of earlier calls always take part; a model that
        takes another's place starts anew.

        Args:
            name: Key, alias or name of the model.
            header: The metadata of its GGUF file (`GgufHeader.metadata`), or of its projector's.
            listing: Its entry in its server's list of models.
            probe: Call it to see for oneself: True for all that there are probes for, or names
                of capabilities.
            max_cost: USD that all probes together may cost, which then has to be known, or None.
            max_probes: Calls that may be made; None is one of each kind.
            weakest: Weaker sources change nothing; what they suggest is reported as likely.

        Raises:
            ModelNotFoundError: There is none of this name, or several.
            UnknownCapabilityError: A name to probe for is none of a capability.
            InvalidRequestError: There is no probe for one, or an argument is wrong.
            NoEligibleModelsError: Not even one probe may be made; the message says why.
        """
        model = self._engine.registry.get_model(name)
        key, now = model.key.text, self._parts.clock.wall()
        found, window = evidence_of_name(model.name, now), None
        if header is not None:
            found += evidence_of_header(header, now)
        if listing is not None:
            found += evidence_of_listing(listing, now)
            window = listed_window(listing)
        unclear: list[str] = []
        cost_usd = 0.0
        if probe:
            limit = None if max_cost is None else as_limit("max_cost", max_cost)
            wanted = _wanted(probe)
            most = len(PROBES) if max_probes is None else as_count("max_probes", max_probes)
            unclear += [f"{one.capability}: beyond max_probes" for one in wanted[most:]]
            pinned = Pinned(
                self._parts, self._asking, key, task=_SEGMENT, max_cost=limit, undeclared=True
            )
            found += await self._probed(wanted[:most], pinned, unclear)
            cost_usd = pinned.spent_usd
        evidence = kept(self._evidence(model, now), found)
        if self._is_registered(model):
            self._known[key] = model, evidence
            self._apply(model, joined(evidence, weakest=weakest), window)
        capabilities = holding(joined(evidence, weakest=weakest))
        return CapabilityReport(
            model=key,
            capabilities=capabilities,
            likely=holding(joined(evidence)) - capabilities,
            evidence=evidence,
            context_window=model.spec.context_window,
            unclear=tuple(unclear),
            cost_usd=cost_usd,
        )

    # ------------------------------------------------------------------------------------------

    def _evidence(self, model: Model, now: float) -> tuple[Evidence, ...]:
        """Return what was known before; of a model that is new here, what it declares."""
        known = self._known.get(model.key.text)
        if known is not None and known[0] is model:
            return known[1]
        return evidence_of_declaration(capability_names(model.spec.capabilities), now)

    async def _probed(
        self, probes: Collection[Probe], pinned: Pinned, unclear: list[str]
    ) -> tuple[Evidence, ...]:
        found: list[Evidence] = []
        calls = 0
        for probe in probes:
            try:
                called = await pinned.call(probe.params(), stream=probe.stream)
            except NoEligibleModelsError as error:
                if not calls:
                    raise
                unclear.append(f"{probe.capability}: not probed, {pinned.refusal(error)}")
                continue
            calls += 1
            if called.result is None:
                assert called.error is not None
                finding = finding_of_error(called.error)
                health = await self._engine.get_model_health(pinned.model)
                if not health.healthy:
                    unclear.append(f"{probe.capability} and after: {'; '.join(health.issues)}")
                    break
            else:
                finding = probe.finding(called.result, called.pieces)
            if finding.present is None:
                unclear.append(f"{probe.capability}: {finding.detail}")
                continue
            at = self._parts.clock.wall()
            found.append(
                Evidence(probe.capability, finding.present, Source.PROBE, at, finding.detail)
            )
        return tuple(found)

    def _is_registered(self, model: Model) -> bool:
        """Whether it is still in the pool; probes take their time."""
        registry = self._engine.registry
        return model.key in registry and registry.get_model(model.key.text) is model

    def _apply(self, model: Model, decided: Mapping[str, Evidence], window: int | None) -> None:
        spec = model.spec
        before, after = capability_names(spec.capabilities), holding(decided)
        gained, lost = after - before, before - after
        # Kinds of work of the owner's own stay, and so does a size such as ``text:small``.
        types = spec.types - (types_served_by(lost) - types_served_by(after))
        found = replace(
            spec,
            capabilities=capability_mask(after),
            types=types | types_served_by(gained),
            context_window=spec.context_window or window,
        )
        if found == spec:
            return
        model.spec = found
        self._engine.registry.register_models([model], replace=True)
        if gained or lost:
            self._say(
                CapabilitiesChanged,
                model=model.key.text,
                gained=tuple(sorted(gained)),
                lost=tuple(sorted(lost)),
                because=tuple(
                    str(decided.get(name, f"nothing that counts speaks for {name}"))
                    for name in sorted(gained | lost)
                ),
            )


def _wanted(probe: bool | Collection[str]) -> list[Probe]:
    if isinstance(probe, bool):
        return list(PROBES)
    capability_mask(probe)
    there_are = {one.capability: one for one in PROBES}
    for name in probe:
        if name not in there_are:
            raise InvalidRequestError(
                f"there is no probe for {name!r}",
                param="probe",
                hint=f"there are some for {', '.join(there_are)}",
            )
    return [one for name, one in there_are.items() if name in set(probe)]
