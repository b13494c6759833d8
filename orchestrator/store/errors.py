"""What can be wrong with a decision log."""

from __future__ import annotations

from orchestrator.core.errors import ConfigurationError

__all__ = ["LogDataError", "StoreError", "StoreSchemaError"]


class StoreError(ConfigurationError):
    """A decision log is not where it was said to be, is none, or cannot be opened."""

    code = "store_error"


class StoreSchemaError(StoreError):
    """A log was written by another version of this library.

    Attributes:
        found: The log's schema.
        wanted: Ours.
    """

    code = "store_schema"

    def __init__(self, message: str, *, found: str, wanted: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.found = found
        self.wanted = wanted


class LogDataError(StoreError):
    """A row of a log cannot be true, such as a choice that had no probability."""

    code = "log_data"
