"""Which eligible model: pure decisions over statistics.

A policy per file. What a policy reads lies in `orchestrator.core.views`; who keeps it current is
the engine. Constraints never reach this package: only eligible arms do.
"""

from orchestrator.core.objective import Objective
from orchestrator.core.selector import Candidates, Selector
from orchestrator.selectors.catalog import make_selector, selector_names
from orchestrator.selectors.choice import Choice, choose, propensities
from orchestrator.selectors.cost import CostBasedSelector
from orchestrator.selectors.performance import PerformanceSelector
from orchestrator.selectors.priority import PrioritySelector
from orchestrator.selectors.ucb import UCBModelSelector

__all__ = [
    "Candidates",
    "Choice",
    "CostBasedSelector",
    "Objective",
    "PerformanceSelector",
    "PrioritySelector",
    "Selector",
    "UCBModelSelector",
    "choose",
    "make_selector",
    "propensities",
    "selector_names",
]
