"""Has the texts of requests embedded by a model of the pool, to find their segments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

import anyio
from anyio.abc import TaskGroup

from orchestrator.core.errors import ConfigurationError, NoEligibleModelsError
from orchestrator.core.events import SegmentingFailed
from orchestrator.core.params import EmbeddingParams
from orchestrator.core.results import EmbeddingResult
from orchestrator.engine.asking import Asking
from orchestrator.engine.contexts import DEFAULT_SEGMENT
from orchestrator.engine.parts import Parts
from orchestrator.engine.pinned import Pinned
from orchestrator.routing.availability import Availability
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.segments import ByEmbedding
from orchestrator.routing.text_features import excerpt

__all__ = ["EmbeddedSegments", "ToldApart"]

_TASK: Final = "segment"
_MOST_REMEMBERED: Final = 4096
"""Texts, as a hash and a name each: about a megabyte."""
_log = logging.getLogger("orchestrator.engine")


class ToldApart(NamedTuple):
    """What became of requests that only a vector of their text could tell apart.

    Attributes:
        found: Those whose segment was found.
        missed: Those that went on in the default segment.
        failure: Why no segment can be found at present, or None.
    """

    found: int = 0
    missed: int = 0
    failure: str | None = None


class _Call:
    """A text that is being embedded, and how many requests wait for it."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.ended = asyncio.Event()
        self.waiting = 0
        self.segment: str | None = None


class EmbeddedSegments:
    """Finds segments by what an embedding model makes of texts, within a limit of time.

    An embedding is a request like others: it counts for budgets, health and statistics, in the
    segment ``segment``. A text in flight is embedded once, whoever else asks for it, and its
    segment is remembered. Once the model has failed, or has been too slow, nobody waits for it:
    one text at a time is tried beside the requests, until it succeeds in time.

    Args:
        segmenter: From a vector to a segment.
        within_s: How long a request waits at most.
        parts: What all requests share.
        asking: Writes what embedding them asks.
        registry: The models.
        availability: Which of them are out of service.
        name: Returns the segment under which statistics are kept for one that was found.
        say: Publishes an event of a kind with these facts, if anybody wants it.

    Raises:
        ConfigurationError: The limit is not above 0.
    """

    def __init__(
        self,
        segmenter: ByEmbedding,
        within_s: float,
        parts: Parts,
        asking: Asking,
        registry: ModelRegistry,
        availability: Availability,
        name: Callable[[str], str],
        say: Callable[..., None],
    ) -> None:
        if not within_s > 0:
            raise ConfigurationError(f"embed_within_s must be above 0, not {within_s!r}")
        self._segmenter = segmenter
        self._within_s = within_s
        self._parts = parts
        self._pinned = Pinned(
            parts, asking, segmenter.model, task=_TASK, max_cost=None, deadline_s=within_s
        )
        self._registry = registry
        self._availability = availability
        self._name = name
        self._say = say
        self._tasks: TaskGroup | None = None
        self._remembered: dict[bytes, str] = {}
        self._in_flight: dict[bytes, _Call] = {}
        self.told_apart = ToldApart()

    def start(self, tasks: TaskGroup) -> None:
        """Embed in tasks of this group from now on."""
        self._tasks = tasks

    def close(self) -> None:
        """Embed no more."""
        self._tasks = None

    def known(self, text: str) -> str:
        """Return a text's segment if it was embedded of late, else the default one."""
        found = self._remembered.get(_digest(self._read(text)))
        return DEFAULT_SEGMENT if found is None else self._name(found)

    async def segment(self, text: str, left_s: float) -> str:
        """Return a text's segment, or the default one if it cannot be found in time.

        Args:
            text: Of any length.
            left_s: What its request has left; no more than half of it is waited for.
        """
        read = self._read(text)
        digest = _digest(read)
        found = self._remembered.pop(digest, None)
        if found is None:
            found = await self._embedded(digest, read, left_s)
        else:
            self._remembered[digest] = found  # as the latest
        told = self.told_apart
        if found is None:
            self.told_apart = told._replace(missed=told.missed + 1)
            return DEFAULT_SEGMENT
        self.told_apart = told._replace(found=told.found + 1)
        return self._name(found)

    # ------------------------------------------------------------------------------------------

    def _read(self, text: str) -> str:
        pool = self._registry.pool
        arm = pool.index.get(self._segmenter.model)
        return excerpt(text, None if arm is None else pool.models[arm].spec.context_window)

    def _remember(self, digest: bytes, segment: str) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = segment

    async def _embedded(self, digest: bytes, text: str, left_s: float) -> str | None:
        if self._tasks is None:
            return None
        refusal = self._refusal()
        if refusal is not None:
            self._failed(refusal)
            return None
        nobody_waits = self.told_apart.failure is not None
        if nobody_waits and self._in_flight:
            return None
        call = self._in_flight.get(digest)
        if call is None:
            call = self._in_flight[digest] = _Call()
            self._tasks.start_soon(self._embed, digest, text, call)
        if nobody_waits:
            return None
        call.waiting += 1
        try:
            async with asyncio.timeout(min(self._within_s, left_s / 2)):
                await call.ended.wait()
        except TimeoutError:
            pass  # it ends by itself, and is remembered for the next
        except asyncio.CancelledError:
            if call.waiting == 1:
                self._forget(digest, call)
                call.scope.cancel()
            raise
        finally:
            call.waiting -= 1
        return call.segment

    async def _embed(self, digest: bytes, text: str, call: _Call) -> None:
        try:
            with call.scope:
                call.segment = await self._ask(text)
                if call.segment is not None:
                    self._remember(digest, call.segment)
        finally:
            self._forget(digest, call)
            call.ended.set()

    async def _ask(self, text: str) -> str | None:
        clock = self._parts.clock
        begun = clock.monotonic()
        try:
            called = await self._pinned.call(EmbeddingParams(input=text))
            if called.error is not None:
                raise called.error
            assert isinstance(called.result, EmbeddingResult)
            (vector,) = called.result.vectors
            segment = self._segmenter.segment(vector)
        except NoEligibleModelsError as error:
            self._failed(self._pinned.refusal(error))
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no vector
            self._failed(f"{type(error).__name__}: {error}")
            return None
        # A deadline may strike a little late, but who waited has left by then.
        took_s = clock.monotonic() - begun
        if took_s > self._within_s:
            self._failed(f"it took {took_s:.3g} s")
        elif self.told_apart.failure is not None:
            self.told_apart = self.told_apart._replace(failure=None)
            _log.info("%s tells requests apart again", self._segmenter.model)
        return segment

    def _refusal(self) -> str | None:
        """Return why the model is not to be called now, or None if it may be."""
        self._parts.chooser.keep_up()
        model = self._segmenter.model
        if model not in self._registry.pool.index:
            return "it is not in the pool"
        now = self._parts.clock.monotonic()
        outage = next(self._availability.speaks_against(model, now), None)
        return None if outage is None else outage.reason

    def _failed(self, why: str) -> None:
        before = self.told_apart.failure
        self.told_apart = self.told_apart._replace(failure=why)
        if before is None:
            model = self._segmenter.model
            _log.warning("%s does not tell requests apart any more: %s", model, why)
            self._say(SegmentingFailed, model=model, error=why)

    def _forget(self, digest: bytes, call: _Call) -> None:
        """Let nobody join a call any more."""
        if self._in_flight.get(digest) is call:
            del self._in_flight[digest]


def _digest(text: str) -> bytes:
    # A lone surrogate, which JSON allows, is no UTF-8.
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
