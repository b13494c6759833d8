"""A provider in a process of its own, which answers, fails and dies as it is told.

``python -m benchmarks.failing_provider PORT`` prints its base URL once it listens, then takes one
name of `FAULTS` per line on its standard input, and ends when that is closed. `Provider` starts,
kills and stops such a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from benchmarks.harness import HELPER_CPU, ROOT, pinned

if TYPE_CHECKING:
    from orchestrator.testing import Fault

__all__ = ["FAULTS", "Provider"]

SLOW_S: Final = 3.0
"""Three times as long as the clients wait."""
FAULTS: Final = {
    "killed": "SIGKILL, and later started anew on its port",
    "hung": "SIGSTOP, and later SIGCONT: connections are taken, nothing is answered",
    "throttled": "429 with Retry-After: 1 to every request",
    "500s": "500 to every request",
    "slow": f"every answer {SLOW_S:g} s late",
}
_ANSWERS_AFTER_S: Final = 0.02


class Provider:
    """A provider process, as a context: it listens inside, unless it was killed."""

    def __init__(self) -> None:
        self._url = ""
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Its base URL, once it listens."""
        if not self._url:
            self._url = self._heard()
        return self._url

    def __enter__(self) -> Self:
        self._start("0")  # and return at once: several start at the same time
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()

    def break_down(self, fault: str) -> None:
        """Let a fault of `FAULTS` begin."""
        if fault == "killed":
            self._kill()
        elif fault == "hung":
            self._signal(signal.SIGSTOP)
        else:
            self._tell(fault)

    def mend(self, fault: str) -> None:
        """Let it end, and return once the provider would answer."""
        if fault == "killed":
            self._start(str(urlsplit(self.url).port))
            self._heard()
        elif fault == "hung":
            self._signal(signal.SIGCONT)
        else:
            self._tell("none")

    def _start(self, port: str) -> None:
        with pinned(HELPER_CPU):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.failing_provider", port],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _tell(self, fault: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        print(fault, file=self._process.stdin, flush=True)
        self._heard()

    def _heard(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the provider's process ended before it listened")
        return line


async def _serve(port: int) -> None:
    from orchestrator.testing import FaultPlan, Late, ProviderServer, failure

    plans: dict[str, Fault | None] = {
        "none": None,
        "throttled": failure(429, retry_after_s=1.0),
        "500s": failure(500),
        "slow": Late(SLOW_S),
    }
    async with ProviderServer(port=port, first_token_s=_ANSWERS_AFTER_S) as server:
        print(server.base_url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            fault = plans[line.strip()]
            server.faults = FaultPlan() if fault is None else FaultPlan([(fault, 1.0)])
            print(line.strip(), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
