"""What is believed of models before their first call."""

from __future__ import annotations

import pytest

from orchestrator import Orchestrator, UCBModelSelector
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.warm_start import Seen, WarmStart
from orchestrator.engine.priors import Priors
from orchestrator.routing.registry import ModelRegistry
from orchestrator.selectors import HierarchicalSelector
from orchestrator.store.memory import MemoryStore
from tests.engine.world import engine, says, simulated

GREEDY = UCBModelSelector(0.0, min_trials=0, floor=0.0)
BY_TASK = HierarchicalSelector(exploration_factor=0.0, min_trials=0, floor=0.0)
OUTCOMES = WarmStart(
    {"p:a": {"code": Seen(300, 0.9), "chat": Seen(100, 0.1)}, "b": {"chat": Seen(4, 0.75)}}, 20.0
)


def test_a_prior_is_outcomes_else_what_is_declared_else_nothing():
    pool = ModelRegistry(
        [says("a", quality=0.2), says("b"), says("c", quality=0.6), says("d")]
    ).pool

    prior = Priors(2.0, OUTCOMES).of(pool, dict)

    assert prior is not None
    assert prior.weight.tolist() == [20, 4, 2, 0]
    assert prior.mean.tolist() == pytest.approx([0.7, 0.75, 0.6, 0.5])
    assert prior.of("code").weight.tolist() == [15, 0, 2, 0]
    assert prior.of("chat").weight.tolist() == [5, 4, 2, 0]
    assert prior.of("chat").mean.tolist() == pytest.approx([0.1, 0.75, 0.6, 0.5])
    assert prior.of("law").weight.tolist() == [0, 0, 2, 0]


def test_without_outcomes_every_segment_believes_the_same():
    pool = ModelRegistry([says("a", quality=0.2), says("b")]).pool

    prior = Priors().of(pool, dict)

    assert prior is not None
    assert prior.of("code") is prior
    assert Priors().of(ModelRegistry([says("b")]).pool, dict) is None


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float):
    with pytest.raises(ConfigurationError, match="prior_weight must be at least 0"):
        Orchestrator(prior_weight=weight)


@simulated
async def test_outcomes_of_elsewhere_decide_by_kind_of_request():
    models = {
        "p:a": {"code": Seen(50, 0.9), "chat": Seen(50, 0.2)},
        "p:b": {"code": Seen(50, 0.4), "chat": Seen(50, 0.8)},
    }
    start = WarmStart(models, 50.0)
    async with engine(says("b"), says("a"), selector=BY_TASK, warm_start=start) as orchestrator:
        for _ in range(2):
            for task, best in (("code", "p:a"), ("chat", "p:b")):
                selection = await orchestrator.select_model(context={"task": task})
                assert selection.key == best
            orchestrator.register_model(says("c", quality=0.0), replace=True)
        assert (await orchestrator.select_model(context={"task": "law"})).key == "p:b"


@simulated
async def test_a_belief_is_outvoted_by_what_is_seen():
    start = WarmStart({"p:a": {"all": Seen(1000, 0.9)}, "p:b": {"all": Seen(1000, 0.5)}})
    async with engine(says("b"), says("a"), selector=GREEDY, warm_start=start) as orchestrator:
        for _ in range(100):
            result = await orchestrator.generate("hi")
            await orchestrator.feedback(result.decision_id, quality=float(result.text == "b"))

        statistics = orchestrator.get_model_statistics()
    # 9 of 10 are believed to be won: after 8 more it is 9 of 18, no better than the other.
    assert statistics["p:a"]["calls"] == 8
    assert statistics["p:b"]["calls"] == 92


@simulated
async def test_a_model_that_joins_is_believed_to_be_as_good_as_its_family():
    family = ["p:gpt-4*", "p:*"]
    models = (says("gpt-4"), says("other"))
    async with engine(*models, selector=GREEDY, families=family) as orchestrator:
        for name, quality in (("gpt-4", 0.75), ("other", 0.25)):
            for _ in range(8):
                result = await orchestrator.generate("hi", model=f"p:{name}")
                await orchestrator.feedback(result.decision_id, quality=quality)
        orchestrator.register_models([says("gpt-4o"), says("another")])

        means = {row.key: row.mean for row in orchestrator.explain("hi").models}
        assert means["p:gpt-4o"] == pytest.approx(0.75)
        assert means["p:another"] == pytest.approx(0.25)

        # Once it is called, it has its own; the belief stays what it was.
        for _ in range(2):
            result = await orchestrator.generate("hi", model="p:gpt-4o")
            await orchestrator.feedback(result.decision_id, quality=0.0)
        orchestrator.register_model(says("gpt-4-mini"))
        means = {row.key: row.mean for row in orchestrator.explain("hi").models}
        assert means["p:gpt-4o"] == pytest.approx(0.75 * 2 / 4)
        assert means["p:gpt-4-mini"] == pytest.approx(0.75 * 8 / 10)
        assert means["p:gpt-4"] == pytest.approx(0.75)


@simulated
async def test_relatives_that_nobody_has_called_confirm_nobody():
    models = (says("x", quality=0.9), says("y"))
    async with engine(*models, selector=GREEDY, families=["p:*"]) as orchestrator:
        orchestrator.register_model(says("z"))
        means = {row.key: row.mean for row in orchestrator.explain("hi").models}

    assert (means["p:x"], means["p:y"], means["p:z"]) == (0.9, 0.5, 0.5)


@simulated
async def test_a_prior_is_no_statistic():
    async with engine(says("a"), warm_start=OUTCOMES) as orchestrator:
        (row,) = orchestrator.explain("hi").models
        assert row.mean == pytest.approx(0.7)
        assert row.pulls == 0
        assert orchestrator.get_model_statistics() == {}


@simulated
async def test_a_family_is_remembered_with_its_members():
    store = MemoryStore()
    async with engine(says("x"), node="n1", store=store) as orchestrator:
        result = await orchestrator.generate("hi")
        await orchestrator.feedback(result.decision_id, quality=0.75)

    orchestrator = engine(says("x"), says("y"), node="n2", store=store, families=["p:*"])
    assert {row.mean for row in orchestrator.explain("hi").models} == {0.5}
    async with orchestrator:
        means = {row.key: row.mean for row in orchestrator.explain("hi").models}
        assert means == {"p:x": 0.75, "p:y": 0.75}

        orchestrator.reset_statistics()
        assert {row.mean for row in orchestrator.explain("hi").models} == {0.5}
