"""Wires the parts together. What is decided is decided elsewhere.

`orchestrator` is the public face; `asking` turns keywords into what is asked, `chooser` that into
a decision, `attempts` takes a request from one model to the next, `unary` and `streaming` call
them, `settlement` ends each attempt, `recorder` writes down what came of it.
"""

from orchestrator.engine.orchestrator import Orchestrator

__all__ = ["Orchestrator"]
