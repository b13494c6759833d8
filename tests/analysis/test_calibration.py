from __future__ import annotations

import numpy as np
import pytest

from orchestrator.analysis.calibration import calibrate
from orchestrator.analysis.generator import generate_table
from orchestrator.analysis.ope import PropensityError
from orchestrator.analysis.tables import OutcomeTable
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.estimates import FloatArray

TABLE: OutcomeTable = generate_table(3, prompts=2_000, models=3, tasks=2)
UNIFORM: FloatArray = np.full(TABLE.quality.shape, 1 / 3)
LAST: FloatArray = np.tile(np.eye(3)[2], (len(TABLE), 1))
LOGS = 150


def test_the_truth_is_what_the_target_reaches_on_the_whole_table():
    found = calibrate(TABLE, UNIFORM, LAST, size=10, logs=1, seed=0)["dr"]

    assert found.truth == pytest.approx(TABLE.quality[:, 2].mean())


def test_where_choices_do_not_depend_on_the_prompt_every_estimator_is_calibrated():
    found = calibrate(TABLE, UNIFORM, LAST, size=600, logs=LOGS, seed=0)

    for one in found.values():
        assert abs(one.bias) <= 4 * one.values.std(ddof=1) / np.sqrt(LOGS)
        assert abs(one.coverage - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / LOGS)
        assert one.given == 1
        assert one.rmse == pytest.approx(np.hypot(one.bias, one.values.std()))


def test_a_router_that_senses_what_it_does_not_log_misleads_means_but_not_weights():
    hard = TABLE.quality.mean(axis=1) < 0.5
    favoured = np.where(hard[:, None], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    logging = 0.5 * favoured + 0.5 * UNIFORM

    found = calibrate(TABLE, logging, LAST, size=600, logs=LOGS, seed=0)

    assert abs(found["dm"].bias) > 0.1
    assert found["dm"].coverage < 0.1
    for method in ("ips", "dr"):
        error = found[method].values.std(ddof=1) / np.sqrt(LOGS)
        assert abs(found[method].bias) <= 4 * error


def test_logs_that_say_too_little_give_no_interval_and_no_coverage():
    found = calibrate(TABLE, UNIFORM, LAST, size=30, logs=3, seed=0, methods=["dr"])

    assert list(found) == ["dr"]
    assert found["dr"].given == 0
    assert np.isnan(found["dr"].coverage)
    assert np.isfinite(found["dr"].values).all()


def test_the_same_seed_draws_the_same_logs():
    first, again, other = (
        calibrate(TABLE, UNIFORM, LAST, size=50, logs=3, seed=seed)["ips"].values
        for seed in (1, 1, 2)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("size", "logs"), [(0, 5), (5, 0)])
def test_nothing_to_draw_is_refused(size: int, logs: int):
    with pytest.raises(InvalidRequestError, match="at least 1"):
        calibrate(TABLE, UNIFORM, LAST, size=size, logs=logs, seed=0)


def test_a_policy_of_another_shape_is_refused():
    with pytest.raises(InvalidRequestError, match="shape"):
        calibrate(TABLE, UNIFORM[:5], LAST, size=5, logs=1, seed=0)


def test_a_policy_that_is_no_distribution_is_refused():
    with pytest.raises(PropensityError):
        calibrate(TABLE, 0 * UNIFORM, LAST, size=5, logs=1, seed=0)
