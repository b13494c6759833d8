"""The clients of the simulated world: they do their errands and write down what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from orchestrator.core.events import (
    DecisionExpired,
    Event,
    FeedbackRecorded,
    ModelSelected,
    ModelUsed,
)
from orchestrator.core.results import EmbeddingResult, TextResult
from orchestrator.engine import Orchestrator
from orchestrator.engine.selection import Selection
from orchestrator.engine.streaming import TextStream
from orchestrator.testing.arms import OWN_TYPE
from orchestrator.testing.errands import Errand, Rating, Use
from orchestrator.testing.trace import Rated, Story, Trace

__all__ = ["Clients"]

_present: ContextVar[Story | None] = ContextVar("_present", default=None)


class Clients:
    """Everybody who wants something of one engine.

    Args:
        engine: Which runs.
        trace: Where stories, events and ratings are written.
        tasks: Owns what outlives an errand.
    """

    def __init__(self, engine: Orchestrator, trace: Trace, tasks: asyncio.TaskGroup) -> None:
        self._engine = engine
        self._trace = trace
        self._tasks = tasks
        self._by_decision: dict[str, Story] = {}
        self._now = asyncio.get_running_loop().time
        engine.events.on(Event, self._hear)

    async def run(self, errand: Errand) -> None:
        """Do one errand; ends with it, or with its cancellation."""
        await asyncio.sleep(errand.at_s - self._now())
        if errand.kind == "select":
            await self._select(errand)
            return
        use = errand.uses[0]
        story = self._story(errand, errand.tag, use)
        with self._telling(story):
            match errand.kind:
                case "generate":
                    result = await self._engine.generate(
                        errand.prompt, **errand.options, **use.params
                    )
                    _keep(story, result)
                case "stream":
                    opened = self._engine.stream(
                        errand.prompt,
                        on_interrupt=use.on_interrupt,
                        **errand.options,
                        **use.params,
                    )
                    await self._read(story, use, opened)
                case "embed":
                    texts = [errand.prompt, "and another text"]
                    story.result = await self._engine.embed(texts, **errand.options)
                case "use_model":
                    story.heard = await self._use_model(errand, use)
                case "explain":
                    self._engine.explain(errand.prompt, **errand.options, **use.params)

    async def _use_model(self, errand: Errand, use: Use) -> str:
        options = dict(errand.options)
        provider = options.pop("provider", None)
        own = errand.model_type == OWN_TYPE
        params = {"prompt": errand.prompt, **({} if own else use.params)}
        assert errand.model_type is not None
        value = await self._engine.use_model(errand.model_type, params, provider, **options)
        return str(value["summary"] if own else value)

    async def _select(self, errand: Errand) -> None:
        story = self._story(errand, errand.tag, errand.uses[0] if errand.uses else None)
        selection: Selection | None = None
        with self._telling(story):
            selection = await self._engine.select_model(**errand.options, **errand.size)
            await asyncio.sleep(errand.pause_s)
            if not errand.uses:
                if errand.releases:
                    selection.release()
                story.end("unused", self._now())
                return
            story.begun_s = self._now()
            await self._use(story, selection, errand.prompt)
        if selection is None:
            return
        more = errand.uses[1:] if errand.uses and errand.uses[0].entered else ()
        for number, use in enumerate(more, 2):
            tag = f"{errand.tag}.{number}"
            story = self._story(errand, tag, use)
            with self._telling(story):
                await self._use(story, selection, errand.prompt.replace(errand.tag, tag, 1))

    async def _use(self, story: Story, selection: Selection, prompt: str) -> None:
        use = story.use
        assert use is not None
        if use.streamed:
            opened = selection.stream(prompt, on_interrupt=use.on_interrupt, **use.params)
            if use.entered:
                await self._read(story, use, opened)
            else:
                story.end("unused", self._now())
        else:
            _keep(story, await selection.generate(prompt, **use.params))

    async def _read(self, story: Story, use: Use, opened: TextStream) -> None:
        async with opened as stream:
            story.entered_s = self._now()
            n_read = 0
            async for chunk in stream:
                story.heard = chunk.text if chunk.restarted else story.heard + chunk.text
                n_read += 1
                if use.leave_after is not None and n_read > use.leave_after:
                    break
                if use.read_every_s:
                    await asyncio.sleep(use.read_every_s)
            else:
                story.result = stream.result
        if story.result is None:
            story.end("left", self._now())

    # -- writing it down -----------------------------------------------------------------------

    def _story(self, errand: Errand, tag: str, use: Use | None) -> Story:
        story = Story(tag, errand, use, self._now())
        self._trace.stories.append(story)
        return story

    @contextmanager
    def _telling(self, story: Story) -> Iterator[None]:
        _present.set(story)
        try:
            yield
        except asyncio.CancelledError:
            story.end("cancelled", self._now())
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the story ends with it
            story.end("failed", self._now(), error)
        else:
            if story.ending is None:
                story.end("answered", self._now())
                self._rate(story)

    def _rate(self, story: Story) -> None:
        used = [event for event in story.events if isinstance(event, ModelUsed)]
        for rating in story.errand.ratings if used else ():
            self._tasks.create_task(self._rate_later(used[-1].decision_id, rating))

    async def _rate_later(self, decision_id: str, rating: Rating) -> None:
        await asyncio.sleep(rating.after_s)
        made = list(self._by_decision)
        n_later = len(made) - 1 - made.index(decision_id)
        error = None
        try:
            await self._engine.feedback(decision_id, quality=rating.quality)
        except Exception as raised:  # noqa: BLE001 - it is written down
            error = raised
        forgotten = n_later >= self._trace.settings.decision_limit
        rated = Rated(decision_id, rating, error, forgotten, self._trace.closing)
        self._trace.ratings.append(rated)

    def _hear(self, event: Event) -> None:
        story = self._whose(event)
        if story is not None:
            story.events.append(event)
        self._trace.events.append((None if story is None else story.tag, event))

    def _whose(self, event: Event) -> Story | None:
        if isinstance(event, DecisionExpired):  # mostly told by a timer, in anybody's name
            return self._by_decision.get(event.decision_id)
        if isinstance(event, FeedbackRecorded) or not hasattr(event, "request_id"):
            return None
        story = _present.get()
        if isinstance(event, ModelSelected) and story is not None:
            self._by_decision[event.decision_id] = story
        return story


def _keep(story: Story, result: TextResult | EmbeddingResult) -> None:
    story.result = result
    if isinstance(result, TextResult):
        story.heard = result.text
