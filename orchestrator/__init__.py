"""One pool of every model you can reach; the best one that may serve, for each request.

::

    async with Orchestrator(models=[...]) as orchestrator:
        result = await orchestrator.generate("Hello", max_cost=0.01)
"""

from typing import TYPE_CHECKING

from orchestrator.core.capabilities import ModelCapabilities
from orchestrator.core.decisions import Decision, Refusal, RefusalCode
from orchestrator.core.errors import (
    AttemptsExhaustedError,
    ConfigurationError,
    DeadlineExceededError,
    ModelAPIError,
    ModelError,
    ModelNotFoundError,
    ModelRateLimitError,
    ModelResponseError,
    ModelTimeoutError,
    ModelTokenLimitError,
    NoEligibleModelsError,
    OrchestratorError,
    OverloadedError,
    RequestError,
    StreamInterruptedError,
    TryLaterError,
    UnknownDecisionError,
    UnsupportedCapabilityError,
)
from orchestrator.core.first_use import on_first_use as _on_first_use
from orchestrator.core.handlers import HandlerModel, ModelRegistration, Plugin
from orchestrator.core.keys import ModelKey
from orchestrator.core.metrics import ModelMetrics
from orchestrator.core.model import Model, ModelConstraints
from orchestrator.core.model_types import ModelType
from orchestrator.core.objective import Objective
from orchestrator.core.params import EmbeddingParams, TextGenerationParams
from orchestrator.core.ports import Timeouts
from orchestrator.core.prices import Price
from orchestrator.core.requirements import Requirements
from orchestrator.core.results import EmbeddingResult, TextChunk, TextResult, Usage
from orchestrator.engine import Orchestrator
from orchestrator.engine.selection import Selection
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Route
from orchestrator.selectors import PrioritySelector
from orchestrator.selectors.experiment import ExperimentPlan

if TYPE_CHECKING:
    from orchestrator.engine.evaluators import Contains, MatchesSchema, ValidJson
    from orchestrator.engine.judge import JudgeModel
    from orchestrator.engine.sync import SyncOrchestrator
    from orchestrator.integrations.embedded import EmbeddedModel
    from orchestrator.integrations.llama_cpp import LlamaCppModel
    from orchestrator.integrations.openai_model import OpenAICompatibleModel, OpenAIModel
    from orchestrator.lifecycle.policy import LifecyclePolicy, MemoryBudget
    from orchestrator.monitoring import ModelHealthMonitor
    from orchestrator.routing.complexity import analyze_complexity, select_model_for_task
    from orchestrator.selectors.cost import CostBasedSelector
    from orchestrator.selectors.performance import PerformanceSelector
    from orchestrator.selectors.ucb import UCBModelSelector

__version__ = "0.1.0"

__all__ = [
    "AttemptPolicy",
    "AttemptsExhaustedError",
    "BreakerPolicy",
    "ConfigurationError",
    "Contains",
    "CostBasedSelector",
    "DeadlineExceededError",
    "Decision",
    "EmbeddedModel",
    "EmbeddingParams",
    "EmbeddingResult",
    "ExperimentPlan",
    "HandlerModel",
    "JudgeModel",
    "LifecyclePolicy",
    "LlamaCppModel",
    "MatchesSchema",
    "MemoryBudget",
    "Model",
    "ModelAPIError",
    "ModelCapabilities",
    "ModelConstraints",
    "ModelError",
    "ModelHealthMonitor",
    "ModelKey",
    "ModelMetrics",
    "ModelNotFoundError",
    "ModelRateLimitError",
    "ModelRegistration",
    "ModelRegistry",
    "ModelResponseError",
    "ModelTimeoutError",
    "ModelTokenLimitError",
    "ModelType",
    "NoEligibleModelsError",
    "Objective",
    "OpenAICompatibleModel",
    "OpenAIModel",
    "Orchestrator",
    "OrchestratorError",
    "OverloadedError",
    "PerformanceSelector",
    "Plugin",
    "Price",
    "PrioritySelector",
    "Refusal",
    "RefusalCode",
    "RequestError",
    "Requirements",
    "Route",
    "Selection",
    "StreamInterruptedError",
    "SyncOrchestrator",
    "TextChunk",
    "TextGenerationParams",
    "TextResult",
    "Timeouts",
    "TryLaterError",
    "UCBModelSelector",
    "UnknownDecisionError",
    "UnsupportedCapabilityError",
    "Usage",
    "ValidJson",
    "analyze_complexity",
    "select_model_for_task",
]

# What not every program needs.
__getattr__ = _on_first_use(
    __name__,
    {
        "Contains": "orchestrator.engine.evaluators",
        "CostBasedSelector": "orchestrator.selectors.cost",
        "EmbeddedModel": "orchestrator.integrations.embedded",
        "JudgeModel": "orchestrator.engine.judge",
        "LlamaCppModel": "orchestrator.integrations.llama_cpp",
        "LifecyclePolicy": "orchestrator.lifecycle.policy",
        "MatchesSchema": "orchestrator.engine.evaluators",
        "MemoryBudget": "orchestrator.lifecycle.policy",
        "ModelHealthMonitor": "orchestrator.monitoring",
        "OpenAICompatibleModel": "orchestrator.integrations.openai_model",
        "OpenAIModel": "orchestrator.integrations.openai_model",
        "PerformanceSelector": "orchestrator.selectors.performance",
        "SyncOrchestrator": "orchestrator.engine.sync",
        "UCBModelSelector": "orchestrator.selectors.ucb",
        "ValidJson": "orchestrator.engine.evaluators",
        "analyze_complexity": "orchestrator.routing.complexity",
        "select_model_for_task": "orchestrator.routing.complexity",
    },
)
