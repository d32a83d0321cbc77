"""Percentiles agree with numpy on the same samples, within the histogram's three digits."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from loadtest.times import Times


def recorded(seconds: np.ndarray) -> Times:
    times = Times()
    for one in seconds.tolist():
        times.record(one)
    return times


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_numpys(seed: int) -> None:
    seconds = np.random.default_rng(seed).lognormal(-6.0, 1.5, 20_000)
    found = recorded(seconds).summary()
    for name, share in {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}.items():
        expected = 1e3 * np.quantile(seconds, share, method="inverted_cdf")
        assert found[name] == pytest.approx(expected, rel=2e-3, abs=2e-3), name
    assert found["mean"] == pytest.approx(1e3 * seconds.mean(), rel=2e-3)


def test_parts_that_travelled_between_processes_add_up() -> None:
    seconds = np.random.default_rng(0).exponential(0.01, 3_000)
    whole = Times()
    for part in np.array_split(seconds, 3):
        whole.add(pickle.loads(pickle.dumps(recorded(part))))
    assert len(whole) == 3_000
    assert whole.summary() == pytest.approx(recorded(seconds).summary())


def test_the_curve_ends_where_no_request_is_left_to_tell() -> None:
    times = recorded(np.arange(1, 101) / 1e3)  # 1 to 100 ms
    curve = times.curve()
    assert curve[0] == (0.0, pytest.approx(1.0, rel=2e-3))
    assert max(percentile for percentile, _ in curve) <= 99.0
    for percentile, milliseconds in curve[1:]:
        assert milliseconds == pytest.approx(percentile, abs=0.6)


def test_nothing_recorded_is_none_and_not_zero() -> None:
    assert set(Times().summary().values()) == {None}
    assert Times().curve() == []


def test_times_beyond_the_scale_are_kept_at_its_ends() -> None:
    times = recorded(np.array([0.0, 1e6]))
    assert len(times) == 2
    assert times.percentile(100.0) == pytest.approx(3_600_000, rel=2e-3)
