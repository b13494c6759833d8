"""What starts the processes of local models, imported when the first one starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.ports import ChildProcess, Endpoint, ResidentSpec, Transport

if TYPE_CHECKING:
    from orchestrator.lifecycle.process import SubprocessLauncher

__all__ = ["LazyLauncher"]


class LazyLauncher:
    """Implements `orchestrator.core.ports.ProcessLauncher` with a `SubprocessLauncher`.

    Args:
        transport: Returns what asks a process whether it is ready.
        first_token: Has a process produce one.
        log_folder: Where what processes write is kept.
    """

    def __init__(
        self,
        transport: Callable[[], Transport],
        first_token: Callable[[Endpoint], Awaitable[None]],
        log_folder: Path,
    ) -> None:
        self._transport = transport
        self._first_token = first_token
        self._log_folder = log_folder
        self._launcher: SubprocessLauncher | None = None

    async def start(self, spec: ResidentSpec) -> ChildProcess:
        """Start a process; errors as `SubprocessLauncher.start`."""
        if self._launcher is None:
            from orchestrator.lifecycle.process import SubprocessLauncher

            self._launcher = SubprocessLauncher(
                self._transport, first_token=self._first_token, log_folder=self._log_folder
            )
        return await self._launcher.start(spec)
