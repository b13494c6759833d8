"""How many tokens a prompt is, before anybody has counted.

Here: an estimate from characters alone, and its correction per model by the counts that
providers return. Not here: tokenizers, and budgets, which settle on real usage.
"""

from orchestrator.core.tokens.calibration import Observed, TokenEstimator
from orchestrator.core.tokens.estimate import (
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    estimate_message_tokens,
    estimate_tokens,
)

__all__ = [
    "IMAGE_TOKENS",
    "MESSAGE_TOKENS",
    "REPLY_TOKENS",
    "Observed",
    "TokenEstimator",
    "estimate_message_tokens",
    "estimate_tokens",
]
