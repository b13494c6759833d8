from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator import (
    AttemptsExhaustedError,
    DeadlineExceededError,
    ModelAPIError,
    NoEligibleModelsError,
    Orchestrator,
    Route,
    StreamInterruptedError,
    UCBModelSelector,
)
from orchestrator.core.errors import ConfigurationError, ModelNotFoundError
from orchestrator.core.events import ExperimentConcluded
from orchestrator.selectors.experiment import ExperimentPlan
from orchestrator.store import MemoryStore
from orchestrator.testing.scripted import Turn
from tests.engine.world import down, engine, invalid, listen, says, simulated


def plan(name: str = "try", **settings: Any) -> ExperimentPlan:
    return ExperimentPlan(name=name, variants=("a", "b"), **settings)


def unit_for(orchestrator: Orchestrator, variant: int, name: str = "try") -> dict[str, str]:
    """Return the context of a unit that gets this variant."""
    experiment = orchestrator.experiments[name]
    units = (str(n) for n in range(1000))
    return {"unit": next(u for u in units if experiment.assign(u).variant == variant)}


def counted(orchestrator: Orchestrator) -> tuple[int, int]:
    """Return how many units of the challenger and of the control have counted."""
    (comparison,) = orchestrator.experiments["try"].compare()
    return comparison.n, comparison.n_control


@simulated
async def test_units_are_split_as_planned_and_each_keeps_its_variant():
    async with engine(says("a"), says("b"), experiments=[plan(split=(0.9, 0.1))]) as orchestrator:
        first, again = [
            [
                (await orchestrator.generate("hi", model="try", context={"unit": n})).text
                for n in range(1000)
            ]
            for _ in range(2)
        ]

    assert first == again
    assert 60 <= first.count("b") <= 140  # four standard deviations; a hash draws the same always


@simulated
async def test_a_request_that_names_no_unit_is_one_itself():
    async with engine(says("a"), says("b"), experiments=[plan()]) as orchestrator:
        found = {(await orchestrator.generate("hi", route="try")).text for _ in range(20)}

    assert found == {"a", "b"}


@simulated
async def test_a_variant_is_a_route_with_all_that_belongs_to_it():
    routes = [Route(name="both", models=("p:a", "p:b"), fallback=("p:c",))]
    plans = [ExperimentPlan(name="try", variants=("both", "c"))]
    models = says("a", down()), says("b", down()), says("c")
    async with engine(*models, routes=routes, experiments=plans) as orchestrator:
        result = await orchestrator.generate("hi", model="try", context=unit_for(orchestrator, 0))

    assert [attempt.model for attempt in result.attempts] == ["p:a", "p:b", "p:c"]


@simulated
async def test_a_propensity_is_the_selectors_times_the_variants():
    routes = [Route(name="all", selector=UCBModelSelector(floor=0.2))]
    plans = [ExperimentPlan(name="try", variants=("all", "a"), split=(0.75, 0.25))]
    async with engine(says("a"), says("b"), routes=routes, experiments=plans) as orchestrator:
        chosen, alone = [
            (await orchestrator.generate("hi", model="try", context=unit_for(orchestrator, v)))
            for v in range(2)
        ]

    selectors = 0.8 * chosen.decision.greedy + 0.2 / 2
    assert chosen.decision.share == 0.75
    assert chosen.decision.propensity == pytest.approx(0.75 * selectors)
    assert alone.decision.propensity == 0.25


@simulated
async def test_an_answer_counts_when_it_is_rated_and_once():
    async with engine(says("a"), says("b"), experiments=[plan()]) as orchestrator:
        unit = unit_for(orchestrator, 1)
        result = await orchestrator.generate("hi", model="try", context=unit)
        assert counted(orchestrator) == (0, 0)

        for quality in (0.8, 0.8, 0.1):
            await orchestrator.feedback(result.decision_id, quality=quality)

        experiment = orchestrator.experiments["try"]
        assert counted(orchestrator) == (1, 0)
        assert experiment.sums[1][:2] == [1.0, 0.8]


@simulated
async def test_a_rating_from_before_the_answer_was_whole_counts_with_it():
    async with engine(says("a"), says("b"), experiments=[plan()]) as orchestrator:
        async with orchestrator.stream("hi", model="try") as stream:
            await orchestrator.feedback(stream.decision_id, quality=1.0)
            assert sum(counted(orchestrator)) == 0
            async for _ in stream:
                pass

        assert sum(counted(orchestrator)) == 1


@simulated
async def test_where_success_is_the_reward_an_answer_counts_at_once():
    async with engine(says("a"), says("b"), experiments=[plan(reward="success")]) as orchestrator:
        result = await orchestrator.generate("hi", model="try")
        await orchestrator.feedback(result.decision_id, quality=0.0)

        (n, mean) = map(
            sum, zip(*(s[:2] for s in orchestrator.experiments["try"].sums), strict=True)
        )
    assert (n, mean) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("turn", "needs", "error"),
    [
        (down(), {}, AttemptsExhaustedError),
        (Turn(text="a", after_s=9.0), {"deadline_s": 1.0}, DeadlineExceededError),
        ("a", {"provider": "q"}, NoEligibleModelsError),
    ],
)
@simulated
async def test_a_request_without_an_answer_counts_as_nothing_won(
    turn: Any, needs: Any, error: type[Exception]
):
    async with engine(says("a", turn), says("b"), experiments=[plan()]) as orchestrator:
        context = unit_for(orchestrator, 0)
        with pytest.raises(error):
            await orchestrator.generate("hi", model="try", context=context, **needs)

        assert counted(orchestrator) == (0, 1)
        assert orchestrator.experiments["try"].sums[0][1] == 0.0


@simulated
async def test_a_stream_that_breaks_off_counts_as_nothing_won():
    broken = Turn(text="one two", error=down(), words_before_error=1)
    async with engine(says("a", broken), says("b"), experiments=[plan()]) as orchestrator:
        with pytest.raises(StreamInterruptedError):
            async with orchestrator.stream(
                "hi", model="try", context=unit_for(orchestrator, 0)
            ) as stream:
                async for _ in stream:
                    pass

        assert counted(orchestrator) == (0, 1)


@simulated
async def test_what_is_no_fault_of_the_variant_does_not_count():
    models = says("a", invalid(), Turn(text="a", after_s=9.0)), says("b")
    async with engine(*models, experiments=[plan()]) as orchestrator:
        context = unit_for(orchestrator, 0)
        with pytest.raises(ModelAPIError):
            await orchestrator.generate("hi", model="try", context=context)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await orchestrator.generate("hi", model="try", context=context)
        unused = await orchestrator.select_model(model="try", context=context)
        unused.release()

        assert counted(orchestrator) == (0, 0)


@simulated
async def test_the_winner_serves_everybody_and_that_is_told():
    async with engine(says("a"), says("b"), experiments=[plan()]) as orchestrator:
        told = listen(orchestrator, ExperimentConcluded)
        for unit in range(2000):
            result = await orchestrator.generate("hi", model="try", context={"unit": unit})
            await orchestrator.feedback(
                result.decision_id, quality=0.9 if result.text == "b" else 0.4
            )
            if told:
                break
        after = [await orchestrator.generate("hi", model="try") for _ in range(20)]
        conclusion = orchestrator.experiments["try"].conclusion

    (event,) = told
    assert conclusion is not None
    (comparison,) = conclusion.comparisons
    assert (event.experiment, event.verdict, event.variant) == ("try", "promote", "b")
    assert (event.low, event.difference, event.high, event.p_value, event.n, event.n_control) == (
        comparison.low,
        comparison.difference,
        comparison.high,
        comparison.p_value,
        comparison.n,
        comparison.n_control,
    )
    assert 0 < event.low <= 0.5 <= event.high
    assert event.reason == conclusion.reason
    assert {result.text for result in after} == {"b"}
    assert {result.decision.propensity for result in after} == {1.0}


@simulated
async def test_where_the_control_stays_the_best_challenger_is_told():
    plans = [ExperimentPlan(name="try", variants=("a", "b", "c"), max_units=60)]
    quality = {"a": 0.5, "b": 0.3, "c": 0.5}
    async with engine(*map(says, "abc"), experiments=plans) as orchestrator:
        told = listen(orchestrator, ExperimentConcluded)
        for _ in range(60):
            result = await orchestrator.generate("hi", model="try")
            await orchestrator.feedback(result.decision_id, quality=quality[result.text])
        experiment = orchestrator.experiments["try"]

    (event,) = told
    assert (event.verdict, event.variant) == ("stop", "a")
    assert event.difference == max(c.difference for c in experiment.compare())


@simulated
async def test_ratings_that_come_after_too_many_others_are_no_part_of_it():
    models = says("a"), says("b")
    async with engine(*models, experiments=[plan()], decision_limit=3) as orchestrator:
        results = [await orchestrator.generate("hi", model="try") for _ in range(4)]
        for result in results[1:]:
            await orchestrator.feedback(result.decision_id, quality=1.0)

        assert sum(counted(orchestrator)) == 3


@simulated
async def test_an_experiment_is_listed_where_routes_are():
    async with engine(says("a"), says("b"), experiments=[plan()]) as orchestrator:
        assert orchestrator.routes == ("auto", "priority", "try")
        assert [*orchestrator.experiments] == ["try"]


def test_a_name_means_one_thing():
    for names, routes in ((["try", "try"], []), (["try"], [Route(name="try")])):
        with pytest.raises(ConfigurationError, match="an experiment 'try' already"):
            engine(experiments=[plan(name) for name in names], routes=routes)
    with pytest.raises(ConfigurationError, match="an experiment 'try' already"):
        engine(experiments=[plan()]).add_routes([Route(name="try")])


@simulated
async def test_a_variant_that_there_is_not_is_said_so():
    async with engine(says("a"), experiments=[plan()]) as orchestrator:
        with pytest.raises(ModelNotFoundError, match="there is no model or route 'b'"):
            await orchestrator.generate("hi", model="try", context=unit_for(orchestrator, 1))


class TestRestart:
    """With a store an experiment outlives its process."""

    @staticmethod
    async def ask(orchestrator: Orchestrator, units: range) -> None:
        for unit in units:
            await orchestrator.generate("hi", model="try", context={"unit": unit})

    @staticmethod
    def process(store: MemoryStore, node: str, **settings: Any) -> Orchestrator:
        experiments = [plan(reward="success", **settings)]
        return engine(says("a"), says("b"), experiments=experiments, store=store, node=node)

    @simulated
    async def test_it_goes_on_with_what_it_had_seen(self):
        store = MemoryStore()
        async with self.process(store, "one") as orchestrator:
            await self.ask(orchestrator, range(20))
            before = orchestrator.experiments["try"].compare()
        async with self.process(store, "two") as orchestrator:
            assert orchestrator.experiments["try"].compare() == before
            await self.ask(orchestrator, range(30))  # those of before count no more

            assert sum(counted(orchestrator)) == 30

    @pytest.mark.parametrize("nodes", [("one", "two", "three"), ("one", "one", "one")])
    @simulated
    async def test_no_evidence_counts_twice(self, nodes: tuple[str, ...]):
        store = MemoryStore()
        for number, node in enumerate(nodes):
            process = self.process(store, node)
            for part in range(2):  # opened again, too
                async with process as orchestrator:
                    begin = 20 * number + 10 * part
                    await self.ask(orchestrator, range(begin, begin + 10))
                    assert sum(counted(orchestrator)) == begin + 10
        async with (
            self.process(store, "four") as one,
            self.process(store, "five") as other,
        ):
            await self.ask(one, range(60, 70))
            await self.ask(other, range(70, 90))
        async with self.process(store, "six") as orchestrator:
            assert sum(counted(orchestrator)) == 90

    @simulated
    async def test_what_was_concluded_stands_and_is_told_once(self):
        store = MemoryStore()
        async with self.process(store, "one", max_units=10) as orchestrator:
            told = listen(orchestrator, ExperimentConcluded)
            await self.ask(orchestrator, range(20))
            concluded = orchestrator.experiments["try"].conclusion
            assert len(told) == 1
        async with self.process(store, "two", max_units=10) as orchestrator:
            told = listen(orchestrator, ExperimentConcluded)
            await self.ask(orchestrator, range(20, 30))

            assert orchestrator.experiments["try"].conclusion == concluded
            assert not told

    @pytest.mark.parametrize(
        ("change", "kept"), [({"max_units": 100}, 10), ({"alpha": 0.1}, 0), ({"adaptive": True}, 0)]
    )
    @simulated
    async def test_another_plan_begins_anew(self, change: dict[str, Any], kept: int):
        store = MemoryStore()
        async with self.process(store, "one") as orchestrator:
            await self.ask(orchestrator, range(10))
        async with self.process(store, "two", **change) as orchestrator:
            assert sum(counted(orchestrator)) == kept
