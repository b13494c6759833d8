"""Promises between the parts that touch the world, each with a simulated form in `testing`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import SecretStr

from orchestrator.core.bounds import ProcessBounds
from orchestrator.core.records import record

if TYPE_CHECKING:
    from orchestrator.core.decisions import Decision
    from orchestrator.core.statistics import Outcome

__all__ = [
    "ChildProcess",
    "DecisionSink",
    "EarlierDecision",
    "Endpoint",
    "ExperimentShare",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "MemoryProbe",
    "ProcessLauncher",
    "Residency",
    "ResidentSize",
    "ResidentSpec",
    "Timeouts",
    "Transport",
]


# -- speaking HTTP -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each phase of a call may take, in seconds; the deadline stands above them."""

    connect_s: float = 5.0
    first_token_s: float = 30.0
    """From the request sent to the first byte of the answer's body."""
    idle_s: float = 30.0
    """Between two reads after that."""
    answer_s: float = 60.0
    """The first token's time for an answer that comes in whole, and so with its last token."""

    def in_whole(self) -> Timeouts:
        """Return the times of a call that is not streamed."""
        return replace(self, first_token_s=self.answer_s)


@record()
class HttpRequest:
    """One request, ready for the wire. ``headers`` holds no Content-Length or Host.

    Neither headers nor body are in its `repr`: one holds the key, the other the prompt.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@record()
class HttpResponse:
    """A whole answer. Header names are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpStream(Protocol):
    """An answer whose body is still arriving.

    Iterating yields ``bytes`` cut anywhere; it ends where the body ends, and raises the errors
    of `Transport` where it breaks.
    """

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def __anext__(self) -> bytes: ...
    async def read(self) -> bytes:
        """Read the rest of the body, for instance of an error."""
        ...

    def leave(self) -> None:
        """Say that the rest does not matter, and neither how the body ends.

        If that is soon, the connection serves further requests; nobody waits for it.
        """
        ...


class Transport(Protocol):
    """Sends HTTP requests. Redirects are not followed.

    Both calls raise `ModelTimeoutError` (with its phase) where a phase takes too long,
    and `ModelAPIError` of class ``network_error`` where the connection cannot be made or breaks.
    """

    async def request(self, request: HttpRequest, timeouts: Timeouts) -> HttpResponse:
        """Send and read the whole answer, whatever its status."""
        ...

    def stream(
        self, request: HttpRequest, timeouts: Timeouts
    ) -> AbstractAsyncContextManager[HttpStream]:
        """Send and hand over the answer once its headers have arrived.

        Leaving the context closes the connection unless the body was read to its end.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A base URL with a credential that serves a model. ``base_url`` has no slash at its end.

    ``model`` is the model's name there, None where any will do.
    """

    base_url: str
    credential: SecretStr | None = None
    model: str | None = None


# -- models in our own memory ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResidentSize:
    """What is known of a resident's memory before it is loaded; zeros where nothing is.

    Attributes:
        weights_bytes: Of the model file.
        cache_bytes: Of the key-value cache of all slots together.
        device: Where they are, ``ram`` or ``gpu:`` and an index.
        overhead_bytes: What its process takes of ``ram`` besides.
    """

    weights_bytes: int = 0
    cache_bytes: int = 0
    device: str = "ram"
    overhead_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ResidentSpec:
    """What is loaded: one engine process with one model file; several arms can share it.

    Attributes:
        name: Identifies it within one configuration.
        command: The process to start, without a shell; ``{port}`` and ``{key}`` are not in it:
            the child prints its own address (see `lifecycle.process`).
        env: Added to the child's environment; secrets travel here, never in ``command``.
        ready_timeout_s: Seconds until it must be ready; a big file gets more.
        size: What it will take.
        groups: Of each group only one resident is in memory at a time.
        keep_alive_s: Seconds without use after which it is unloaded; None is as the policy says.
        bounds: What its process may take of the machine, and when it counts as hung.
        served_name: What its process calls the model; None where any name will do.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    ready_timeout_s: float = 60.0
    size: ResidentSize = ResidentSize()
    groups: frozenset[str] = frozenset()
    keep_alive_s: float | None = None
    bounds: ProcessBounds = field(default_factory=ProcessBounds)
    served_name: str | None = None


class ChildProcess(Protocol):
    """One running engine process."""

    @property
    def pid(self) -> int: ...
    @property
    def endpoint(self) -> Endpoint:
        """Where it serves; known once it is ready."""
        ...

    @property
    def killed_because(self) -> str | None:
        """Why it was killed by whoever watches it, as a sentence; None if it was not."""
        ...

    async def wait(self) -> int:
        """Wait until it ends and return its exit code (negative: the signal)."""
        ...

    async def stop(self, grace_s: float = 5.0) -> int:
        """Ask it to end, kill it after ``grace_s``, and return its exit code."""
        ...


class ProcessLauncher(Protocol):
    """Starts engine processes."""

    async def start(self, spec: ResidentSpec) -> ChildProcess:
        """Start it and wait until it is ready.

        Raises:
            ProcessError: It ended, or was not ready in time (it has been killed by then).
        """
        ...


class MemoryProbe(Protocol):
    """Measures what processes hold."""

    async def measure(self, pid: int) -> Mapping[str, int]:
        """Return bytes by device of a process and its children, empty where nothing is known."""
        ...


class Residency(Protocol):
    """Gives the right to use a model that has to be in memory."""

    def lease(self, resident: str) -> AbstractAsyncContextManager[Endpoint]:
        """Hold it loaded while the context is open, loading it first if it is cold.

        Raises:
            ModelLoadError: It could not be loaded.
        """
        ...


# -- remembering -------------------------------------------------------------------------------


class DecisionSink(Protocol):
    """Takes down what was decided and what came of it.

    Called on the hot path: each call returns at once, and never raises.
    """

    def decided(self, decision: Decision, features: Any | None = None) -> None:
        """A decision was made, for a request with this feature vector."""
        ...

    def ended(
        self, decision: Decision, outcome: Outcome, error: str | None = None, counts: bool = True
    ) -> None:
        """It has come to this.

        Args:
            decision: The decision.
            outcome: What came of it.
            error: The kind of failure, or None.
            counts: Whether it says something of the model; a call that was cancelled does not.
        """
        ...

    def rated(self, decision_id: str, quality: float, corrected: bool) -> None:
        """Its answer was given a quality in [0, 1]; ``corrected`` if in the place of another."""
        ...

    def forgot(self) -> None:
        """Everything learned so far is to be forgotten."""
        ...


class EarlierDecision(NamedTuple):
    """What a store knows of a decision that its process no longer remembers, or another has made.

    Attributes:
        minute: Start of the minute it was made in, since 1970.
        segment: The kind of request it was made for.
        key: The chosen model.
        features: The request's feature vector, or None.
        quality: The latest that was given, or None.
    """

    minute: int
    segment: str
    key: str
    features: Any | None
    quality: float | None


class ExperimentShare(NamedTuple):
    """What one process has seen of an experiment; the shares of all processes add up.

    Attributes:
        node: The process.
        experiment: Its name.
        plan: Tells this plan from others of the same name, whose evidence says nothing here.
        sums: A row per variant, as `orchestrator.selectors.experiment` keeps them.
        counted: Which units have counted, a bit each.
    """

    node: str
    experiment: str
    plan: str
    sums: tuple[tuple[float, ...], ...]
    counted: bytes
