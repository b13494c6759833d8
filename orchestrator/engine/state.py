"""Keeps what manager and registry remember: restored at the start, saved after every change."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final, Protocol

import anyio

from orchestrator.core.bus import EventBus
from orchestrator.core.clock import Clock
from orchestrator.core.errors import (
    ConfigurationError,
    EngineClosedError,
    OrchestratorError,
    TryLaterError,
)
from orchestrator.core.events import Event, StateRestored, StateSaved, StateSaveFailed
from orchestrator.core.saved_state import (
    Known,
    SavedState,
    StateDocument,
    UnreadableStateError,
    carried,
    document,
    fitting,
    parsed,
)

__all__ = ["StateKeeper", "StateSaveError", "StateSource", "StateStorage"]

_log = logging.getLogger("orchestrator.state")

_TOGETHER_S: Final = 0.5
"""What changes within it of the first change is saved with it."""
_OPEN_WITHIN_S: Final = 5.0
_CLOSE_WITHIN_S: Final = 2.0
_RETRY_S: Final = 1.0
_RETRY_AT_MOST_S: Final = 60.0


class StateSaveError(TryLaterError):
    """The state file could not be written; the one from before is as it was.

    Attributes:
        path: The file.
        reason: What stood in the way.
    """

    code = "state_save_failed"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the state could not be saved to {path}: {reason}",
            hint="look at the permissions and the space of its folder",
        )
        self.path = path
        self.reason = reason


class StateSource(Protocol):
    """Has what is to be remembered."""

    @property
    def known(self) -> Known:
        """Whom it has."""
        ...

    def capture(self) -> SavedState:
        """Return what is to be remembered now of whom it has."""
        ...

    def restore(self, state: SavedState) -> None:
        """Take what was remembered of some of whom it has; nothing counts as loaded for that.

        Never raises: what cannot be applied any more is left as it is configured.
        """
        ...

    async def load(self, resident: str) -> None:
        """Bring one into memory if there is room for it.

        Raises:
            OrchestratorError: It could not be loaded.
        """
        ...


class StateStorage(Protocol):
    """Where the document is; see `orchestrator.store.state_file.StateFile`, which is a file."""

    @property
    def path(self) -> Path: ...
    async def acquire(self) -> None: ...
    async def read(self) -> bytes | None: ...
    async def write(self, data: bytes) -> None: ...
    async def set_aside(self, suffix: str) -> str: ...
    def release(self) -> None: ...


class StateKeeper:
    """Restores the state and saves it: ``open``, then ``run`` as a task, then ``aclose``.

    What is saved is compared with what was saved last, so that nothing is written twice, and a
    change that nobody announced is found all the same. A disk that is full, slow or gone costs
    requests nothing: saving is tried again, ever more rarely, until it works.

    The first engine that opens a file keeps it. Another one that opens it meanwhile reads it, and
    saves only once the first has ended.

    Args:
        storage: Where it is kept.
        source: Whose state it is.
        clock: Dates it.
        events: Where `StateSaved`, `StateSaveFailed` and `StateRestored` are told.
        node: The name of this engine.
        auto_save_s: How often to look for changes that were not announced; 0 saves only when
            asked and at the end.
        restore_loaded: Load again what was in memory.

    Raises:
        ConfigurationError: ``auto_save_s`` is no time.
    """

    def __init__(
        self,
        storage: StateStorage,
        source: StateSource,
        clock: Clock,
        events: EventBus,
        *,
        node: str,
        auto_save_s: float = 60.0,
        restore_loaded: bool = False,
    ) -> None:
        if not 0 <= auto_save_s < inf:
            raise ConfigurationError(
                f"auto_save_s must be at least 0 and finite, not {auto_save_s!r}"
            )
        self._storage = storage
        self._source = source
        self._clock = clock
        self._events = events
        self._node = node
        self._auto_save_s = auto_save_s
        self._restore_loaded = restore_loaded
        self._saved = SavedState()
        """What the file holds."""
        self._held = False
        self._unfit: UnreadableStateError | None = None
        """Why the file that is there must be set aside before it can be replaced."""
        self._welcomed: set[tuple[str, str]] = set()
        """Kinds and names of those who have got back what was remembered of them."""
        self._to_load: tuple[str, ...] = ()
        """Were in memory, and are to be again."""
        self._saving = anyio.Lock()
        self._wake = anyio.Event()
        self._saved_at: str | None = None
        self._reason = ""
        """Why the last save went wrong, if it did."""
        self._closed = False

    # -- its life ------------------------------------------------------------------------------

    async def open(self) -> None:
        """Restore what the file holds.

        A file that cannot be understood, or that a later version wrote, is set aside under
        another name, and the engine starts without it.

        Raises:
            ConfigurationError: The path is that of a folder, or the disk does not answer.
        """
        try:
            with anyio.fail_after(_OPEN_WITHIN_S):
                await self._read_first()
        except BaseException as error:
            self._storage.release()
            if not isinstance(error, TimeoutError):
                raise
            raise ConfigurationError(
                f"the state file {self._storage.path} did not open in {_OPEN_WITHIN_S:g} s"
            ) from None
        if self._restore_loaded:
            self._to_load = fitting(self._saved, self._source.known).loaded
        restored = self.welcome()
        if self._saved_at is not None:
            self._say(
                StateRestored,
                saved_at=self._saved_at,
                residents=(*restored.residents,),
                models=(*restored.models,),
                loading=self._to_load,
            )

    async def run(self) -> None:
        """Load again what is to be, and save what changes, until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._to_load:
                tasks.start_soon(self._load_again)
            if self._auto_save_s:
                tasks.start_soon(self._save_changes)

    async def aclose(self) -> None:
        """Save what has changed; belongs before anything is unloaded. Later changes are not saved.

        A disk that hangs is not waited for.
        """
        if self._closed:
            return
        with anyio.move_on_after(_CLOSE_WITHIN_S, shield=True) as limit:
            await self._save_if_changed(again_s=None)
        self._closed = True
        if limit.cancelled_caught:
            self._failed(f"it took longer than {_CLOSE_WITHIN_S:g} s", None)
        self._storage.release()

    # -- what the engine calls -----------------------------------------------------------------

    def changed(self) -> None:
        """Say that something may be worth saving; returns at once."""
        self._wake.set()

    def welcome(self) -> SavedState:
        """Give back what was remembered to those who have joined since the last time.

        To be called whenever somebody has joined or left. Returns what was given back.
        """
        saved, known = self._saved, self._source.known
        fits = fitting(saved, known)
        names, keys = {*saved.residents, *saved.loaded}, {*saved.models, saved.current or ""}
        here = {("resident", name) for name in names if name in known.residents}
        here |= {("model", key) for key in keys if key in known.models}
        new, self._welcomed = here - self._welcomed, here
        told = SavedState(
            current=fits.current if ("model", fits.current or "") in new else None,
            loaded=tuple(n for n in fits.loaded if ("resident", n) in new),
            residents={n: r for n, r in fits.residents.items() if ("resident", n) in new},
            models={k: m for k, m in fits.models.items() if ("model", k) in new},
        )
        if told != SavedState():
            self._source.restore(told)
        return told

    async def save_now(self) -> Path:
        """Write the file, changed or not, and return where it is.

        Raises:
            StateSaveError: It could not be written; the one from before is as it was.
            EngineClosedError: The engine has closed.
        """
        async with self._saving:
            if self._closed:
                raise EngineClosedError("the state was saved when the engine closed")
            if not await self._write(again_s=None):
                raise StateSaveError(self._storage.path, self._reason)
        return self._storage.path

    # -- loading again -------------------------------------------------------------------------

    async def _load_again(self) -> None:
        """Load one after the other; until its turn has come, each counts as loaded in the file."""
        for name in self._to_load:
            try:
                await self._source.load(name)
            except OrchestratorError as error:
                _log.warning("%s was in memory before, and is not loaded again: %s", name, error)
            self._to_load = tuple(other for other in self._to_load if other != name)

    # -- saving --------------------------------------------------------------------------------

    async def _save_changes(self) -> None:
        while True:
            with anyio.move_on_after(self._auto_save_s):
                await self._wake.wait()
                await anyio.sleep(_TOGETHER_S)
            self._wake = anyio.Event()
            again_s = _RETRY_S
            while not await self._save_if_changed(again_s):
                await anyio.sleep(again_s)
                again_s = min(2 * again_s, _RETRY_AT_MOST_S)

    async def _save_if_changed(self, again_s: float | None) -> bool:
        """Save what is not saved yet; False if that went wrong and is tried ``again_s`` later."""
        async with self._saving:
            return self._closed or self._now() == self._saved or await self._write(again_s)

    def _now(self) -> SavedState:
        """Return what the file should hold."""
        state = self._source.capture()
        waiting = tuple(name for name in self._to_load if name not in state.loaded)
        state = replace(state, loaded=(*state.loaded, *waiting))
        return carried(state, self._saved, self._source.known)

    async def _write(self, again_s: float | None) -> bool:
        try:
            await self._hold()
            state = self._now()
            saved_at = _date(self._clock).isoformat(timespec="seconds")
            data = document(StateDocument(saved_at=saved_at, node=self._node, state=state))
            await self._storage.write(data)
        except (OSError, OrchestratorError) as error:
            self._failed(_why(error), again_s)
            return False
        self._saved, self._reason = state, ""
        self._say(StateSaved, path=str(self._storage.path), size_bytes=len(data))
        return True

    def _failed(self, reason: str, again_s: float | None) -> None:
        path = str(self._storage.path)
        if reason != self._reason:  # not with every try
            _log.warning("the state could not be saved to %s: %s", path, reason)
        self._reason = reason
        self._say(StateSaveFailed, path=path, reason=reason, retry_in_s=again_s)

    # -- the file ------------------------------------------------------------------------------

    async def _read_first(self) -> None:
        try:
            await self._hold()
        except OSError as error:
            path, why = self._storage.path, _why(error)
            if not self._held:
                _log.info("%s is read and not written for now: %s", path, why)
                await self._look()
            if self._unfit is not None:
                _log.warning("%s is of no use, and stays there: %s", path, self._unfit.message)

    async def _hold(self) -> None:
        """See to it that the file is ours to replace.

        Raises:
            OSError: It is not.
        """
        if not self._held:
            await self._storage.acquire()
            await self._look()
            self._held = True
        if self._unfit is not None:
            kind = "newer" if self._unfit.newer else "corrupt"
            aside = await self._storage.set_aside(f"{kind}-{_date(self._clock):%Y%m%dT%H%M%SZ}")
            _log.warning(
                "the state file %s is set aside as %s: %s",
                self._storage.path,
                aside,
                self._unfit.message,
            )
            self._unfit = None

    async def _look(self) -> None:
        """Take in what the file holds."""
        self._unfit = None
        try:
            data = await self._storage.read()
            if data is not None:
                found = parsed(data)
                self._saved, self._saved_at = found.state, found.saved_at
        except OSError as error:
            self._unfit = UnreadableStateError(f"it cannot be read: {_why(error)}")
        except UnreadableStateError as error:
            self._unfit = error

    def _say(self, kind: type[Event], **facts: Any) -> None:
        clock = self._clock
        if self._events.wants(kind):
            self._events.publish(kind(at=clock.monotonic(), wall=clock.wall(), **facts))


def _date(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.wall(), UTC)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
