"""What tests on the real engine need: the model file, and residents made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.core.errors import ConfigurationError
from orchestrator.integrations.embedded import EmbeddedResident, embedded_resident
from orchestrator.integrations.model_files import find_model_file
from tests.conftest import require


def smollm2_file() -> Path:
    """Return the model file; without it or the engine the test is skipped, or fails in CI."""
    require("xllamacpp", "the engine: pip install 'orchestrator[embedded]'")
    try:
        return find_model_file("smollm2")
    except ConfigurationError as error:
        require(False, str(error))
        raise


def smollm2(**settings: Any) -> EmbeddedResident:
    """Return a resident that serves the model."""
    return embedded_resident("smollm2", smollm2_file(), **settings)
