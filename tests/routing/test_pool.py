from __future__ import annotations

import math

import pytest
from hypothesis import given

from orchestrator.core.capabilities import capability_mask
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.model import Model
from orchestrator.routing.pool import Pool, type_bits
from tests.routing.pools import model, models, pool


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@given(models())
def test_every_array_says_what_its_model_declares(declared: list[Model]):
    found = Pool(1, declared)

    assert len(found) == len(declared)
    for arm, spec in enumerate(m.spec for m in declared):
        assert found.index[spec.key.text] == arm
        assert found.keys[arm] == spec.key.text
        assert found.providers[found.provider_ids[arm]] == spec.key.provider
        assert found.capabilities[arm] == spec.capabilities
        assert found.window[arm] == (spec.context_window or math.inf)
        assert found.max_output[arm] == (spec.max_output_tokens or math.inf)
        assert same(found.usd_in[arm], spec.price.input_usd if spec.price else math.nan)
        assert same(found.usd_out[arm], spec.price.output_usd if spec.price else math.nan)
        assert found.priority[arm] == spec.priority
        assert same(found.declared_speed[arm], spec.speed or math.nan)
        assert found.local[arm] == spec.local
        assert found.streaming[arm] == bool(spec.capabilities & capability_mask(["streaming"]))


@given(models())
def test_each_kind_of_work_has_a_bit_of_its_own(declared: list[Model]):
    found = Pool(1, declared)

    for kind in {"text:small", "text:large", "video:generation", "nobody:does"}:
        served = [bool(int(types) & found.type_bit(kind)) for types in found.types]
        assert served == [kind in m.spec.types for m in declared]


def test_there_is_room_for_sixty_four_kinds_of_work_and_no_more():
    kinds = [f"kind:{n}" for n in range(65)]

    assert len(type_bits([model("a:m", model_types=kinds[:64])])) == 64
    with pytest.raises(ConfigurationError, match="64 is the most"):
        type_bits([model("a:m", model_types=kinds)])


def test_a_pool_may_be_empty():
    assert len(pool()) == 0
    assert pool().window.shape == (0,)
