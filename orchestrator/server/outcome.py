"""What the gateway tells of an answer beside the answer: who gave it, and what it took."""

from __future__ import annotations

from typing import Any

from orchestrator.core.decisions import Decision
from orchestrator.core.results import Result

__all__ = ["decision_headers", "outcome", "outcome_headers"]


def outcome_headers(result: Result, content_type: str = "application/json") -> dict[str, str]:
    """Return the headers of a whole answer."""
    headers = decision_headers(result.decision, content_type)
    headers["X-Orchestrator-Cost-Usd"] = _usd(result.cost_usd)
    headers["X-Orchestrator-Attempts"] = str(len(result.attempts))
    return headers


def decision_headers(decision: Decision, content_type: str) -> dict[str, str]:
    """Return the headers of an answer that has only begun."""
    return {
        "Content-Type": content_type,
        "X-Request-Id": decision.request_id,
        "X-Orchestrator-Decision-Id": decision.id,
        "X-Orchestrator-Model": decision.key,
    }


def outcome(result: Result, **facts: Any) -> dict[str, Any]:
    """Return the field that an answer's body carries in our name, with those facts that are set."""
    return {
        "request_id": result.request_id,
        "decision_id": result.decision_id,
        "model": result.model,
        "cost_usd": round(result.cost_usd, 12),
        "attempts": len(result.attempts),
        "latency_s": round(result.latency_s, 6),
        **{name: value for name, value in facts.items() if value},
    }


def _usd(amount: float) -> str:
    """Return an amount without an exponent, which few parse in a header."""
    return f"{amount:.12f}".rstrip("0").rstrip(".") if amount else "0"
