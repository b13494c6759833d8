"""Is it well: what looks after the models from outside the requests.

Here belongs what watches, counts and reports while the engine serves. What the evidence means is
decided in `routing` (breaker, outliers); what an engine shares with its watchers is handed in.
"""

from orchestrator.monitoring.monitor import ModelHealthMonitor

__all__ = ["ModelHealthMonitor"]
