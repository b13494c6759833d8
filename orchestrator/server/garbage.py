"""When Python looks for garbage in a process that does nothing but serve."""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["collect_rarely"]

_NEW_OBJECTS: Final = 5000
"""More than the requests that are served at once hold together; Python's own limit is 700."""


def collect_rarely() -> None:
    """Look for garbage less often, and never again among what is there now.

    Serving a request leaves no cycles behind, so what the collector walks through is all alive: the
    modules, the models, and the requests that are being served at once. It holds for the whole
    process; call it where the process is yours, and once all is set up.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
