"""Which eligible model: pure decisions over statistics.

A policy per file. What a policy reads lies in `orchestrator.core.views`; who keeps it current is
the engine. Constraints never reach this package: only eligible arms do.
"""

from typing import TYPE_CHECKING

from orchestrator.core.first_use import on_first_use as _on_first_use
from orchestrator.core.objective import Objective
from orchestrator.core.selector import Candidates, SamplingSelector, Selector, UpdatedSelector
from orchestrator.selectors.catalog import make_selector, selector_names
from orchestrator.selectors.choice import Choice, choose, propensities
from orchestrator.selectors.priority import PrioritySelector

if TYPE_CHECKING:
    from orchestrator.selectors.adapter import ModelSelector
    from orchestrator.selectors.cost import CostBasedSelector
    from orchestrator.selectors.epsilon_greedy import EpsilonGreedySelector
    from orchestrator.selectors.hierarchical import HierarchicalSelector
    from orchestrator.selectors.lin_ts import LinTSSelector
    from orchestrator.selectors.lin_ucb import LinUCBSelector
    from orchestrator.selectors.nig import NIGThompsonSelector
    from orchestrator.selectors.performance import PerformanceSelector
    from orchestrator.selectors.round_robin import RoundRobinSelector
    from orchestrator.selectors.thompson import ThompsonSelector
    from orchestrator.selectors.ucb import UCBModelSelector
    from orchestrator.selectors.uniform import RandomSelector

__all__ = [
    "Candidates",
    "Choice",
    "CostBasedSelector",
    "EpsilonGreedySelector",
    "HierarchicalSelector",
    "LinTSSelector",
    "LinUCBSelector",
    "ModelSelector",
    "NIGThompsonSelector",
    "Objective",
    "PerformanceSelector",
    "PrioritySelector",
    "RandomSelector",
    "RoundRobinSelector",
    "SamplingSelector",
    "Selector",
    "ThompsonSelector",
    "UCBModelSelector",
    "UpdatedSelector",
    "choose",
    "make_selector",
    "propensities",
    "selector_names",
]

__getattr__ = _on_first_use(
    __name__,
    {
        "CostBasedSelector": "orchestrator.selectors.cost",
        "EpsilonGreedySelector": "orchestrator.selectors.epsilon_greedy",
        "HierarchicalSelector": "orchestrator.selectors.hierarchical",
        "LinTSSelector": "orchestrator.selectors.lin_ts",
        "LinUCBSelector": "orchestrator.selectors.lin_ucb",
        "ModelSelector": "orchestrator.selectors.adapter",
        "NIGThompsonSelector": "orchestrator.selectors.nig",
        "PerformanceSelector": "orchestrator.selectors.performance",
        "RandomSelector": "orchestrator.selectors.uniform",
        "RoundRobinSelector": "orchestrator.selectors.round_robin",
        "ThompsonSelector": "orchestrator.selectors.thompson",
        "UCBModelSelector": "orchestrator.selectors.ucb",
    },
)
