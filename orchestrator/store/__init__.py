"""What outlives the process: every decision with what came of it, and the statistics.

Here: rows, the writer that collects them beside the requests, and where they are kept. Not here:
the decisions that late feedback can name, which the engine keeps in memory with or without a store.
`orchestrator.store.sql` needs the extra `sql`; nothing else here does.
"""

from orchestrator.store.errors import LogDataError, StoreError, StoreSchemaError
from orchestrator.store.memory import MemoryStore
from orchestrator.store.records import Batch, Kept, LogInfo, Store
from orchestrator.store.writer import LogWriter

__all__ = [
    "Batch",
    "Kept",
    "LogDataError",
    "LogInfo",
    "LogWriter",
    "MemoryStore",
    "Store",
    "StoreError",
    "StoreSchemaError",
]
