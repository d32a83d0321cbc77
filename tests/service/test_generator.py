"""Mode "generator": a list made place by place, from the same bundle and under the same rules."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BODY: dict[str, Any] = {"candidates": ["105", "101", "109", "103", "107"], "mode": "generator"}


@pytest.fixture
def api(serve: Any, both: Path) -> Any:
    """A ready application whose bundle has a generator."""
    return serve(bundle=both).loaded()


def answer(response: Any) -> list[tuple[str, float | None]]:
    return [(one["id"], one["score"]) for one in response.json()["results"]]


def test_results_are_the_generated_list_with_the_chance_of_each_place(api: Any) -> None:
    response = api.post({**BODY, "top_k": 3})
    assert answer(response) == [("101", 0.75), ("103", 0.5), ("105", 0.25)]
    results = response.json()["results"]
    assert [one["rank"] for one in results] == [1, 2, 3]
    assert [one["index"] for one in results] == [1, 3, 0]
    assert response.json()["fallback"] is None


def test_items_beyond_the_list_follow_as_they_came_without_a_score(api: Any) -> None:
    response = api.post({**BODY, "top_k": 9})
    assert answer(response)[3:] == [("109", None), ("107", None)]
    assert len(answer(api.post(BODY))) == 4  # the schema's list size
    assert len(answer(api.post({**BODY, "top_k": 1}))) == 1


@pytest.mark.parametrize("count", [2, 3])
def test_fewer_candidates_than_places_give_a_shorter_list(api: Any, count: int) -> None:
    found = answer(api.post({**BODY, "candidates": ["105", "101", "103"][:count]}))
    assert [item for item, _ in found] == (["101", "105"] if count == 2 else ["101", "103", "105"])
    assert all(score is not None for _, score in found)


def test_none_and_one_candidate_skip_the_generator(api: Any) -> None:
    api.engine.generated = None  # calling it would fail
    assert answer(api.post({**BODY, "candidates": []})) == []
    assert answer(api.post({**BODY, "candidates": ["1"]})) == [("1", None)]


def test_the_scorer_serves_whoever_does_not_choose(api: Any) -> None:
    plain = {name: value for name, value in BODY.items() if name != "mode"}
    named = api.post({**plain, "mode": "scorer"})
    assert answer(api.post(plain)) == answer(named)
    assert answer(named)[0][0] == "109"


def test_info_names_modes_and_what_the_generator_was_made_for(api: Any) -> None:
    info = api.get("/info").json()
    assert info["modes"] == ["scorer", "generator"]
    assert info["generator"] == {"list_size": 3, "block_size": 1, "beam": 2}


def test_each_mode_is_timed_apart(api: Any) -> None:
    for mode in ("scorer", "generator", "generator"):
        api.post({**BODY, "mode": mode})
    for mode, count in (("scorer", 1), ("generator", 2)):
        assert api.metric("request_duration_seconds_count", mode=mode) == count
        for stage in ("decode", "queue", "encode", "score", "order"):
            assert api.metric("stage_duration_seconds_count", stage=stage, mode=mode) == count
    assert api.metric("order_kendall_tau_count") == 3
    assert api.metric("score_count") == 4 + 3 + 3


def test_the_warm_up_times_each_mode(api: Any) -> None:
    averages = api.service.worker.averages
    assert averages["scorer"] > 0
    assert averages["generator"] > 0


def test_a_deadline_is_judged_by_the_time_of_the_mode(api: Any) -> None:
    worker = api.service.worker
    worker.averages |= {"generator": 5.0, "scorer": 0.001}
    worker._probe_at["generator"] = float("inf")  # a probe under way would keep the scorer waiting
    response = api.post(BODY)
    assert response.json()["fallback"] == response.headers["x-rerank-fallback"] == "deadline"
    assert answer(response) == [(item, None) for item in BODY["candidates"][:4]]
    assert api.metric("shed_total", reason="deadline") == 1
    assert api.post({**BODY, "mode": "scorer"}).json()["fallback"] is None
    error = api.post({**BODY, "on_failure": "error"})
    assert (error.status_code, error.json()["error"]["type"]) == (504, "deadline")


def test_a_slow_generator_holds_no_caller_past_deadline_and_patience(
    serve: Any, both: Path
) -> None:
    api = serve(bundle=both, deadline_ms=30, late_ms=20).loaded()
    api.engine.generated = lambda *_: time.sleep(3)
    begun = time.perf_counter()
    assert api.post(BODY).json()["fallback"] == "deadline"
    assert time.perf_counter() - begun < 1.5


@pytest.mark.parametrize("field", ["chances", "worth"])
def test_numbers_that_are_none_fall_back(api: Any, field: str) -> None:
    real = type(api.engine).generated

    def generated(arrays: Any, count: int) -> Any:
        found = real(api.engine, arrays, count)
        odd = np.full(3, np.nan) if field == "chances" else float("inf")
        return replace(found, **{field: odd})

    api.engine.generated = generated
    assert api.post(BODY).json()["fallback"] == "nonfinite"
    assert api.metric("nonfinite_scores_total") == (3 if field == "chances" else 1)


@pytest.mark.parametrize("places", [[0, 0, 1], [0, 9, 1], [0, -1, 1]])
def test_an_impossible_list_is_never_shown(api: Any, places: list[int]) -> None:
    real = type(api.engine).generated
    api.engine.generated = lambda arrays, count: replace(
        real(api.engine, arrays, count), places=np.array(places)
    )
    assert api.post(BODY).json()["fallback"] == "model_error"


def test_a_full_queue_is_full_for_both_modes(serve: Any, both: Path) -> None:
    api = serve(bundle=both, max_queue=2, deadline_ms=5_000).loaded()
    real = type(api.engine).generated

    def slow(arrays: Any, count: int) -> Any:
        time.sleep(0.1)
        return real(api.engine, arrays, count)

    api.engine.generated = slow
    responses = api.together([BODY] * 6 + [{**BODY, "mode": "scorer"}] * 4)
    reasons = [response.json()["fallback"] for response in responses]
    assert set(reasons) == {None, "overload"}
    assert reasons.count(None) in (2, 3)


def refused(serve: Any, home: Path) -> str:
    api = serve(bundle=home).loaded()
    assert api.post(BODY).json()["fallback"] == "no_model"
    return str(api.get("/info").json()["reason"])


@pytest.fixture
def entries(both: Path) -> Iterator[list[Any]]:
    """Golden requests, to be changed."""
    with ExitStack():
        yield json.loads((both / "1" / "golden.json").read_text())["requests"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"worth": 1.01}, "worth"),
        ({"chances": [0.75, 0.5, 0.3]}, "chances"),
        ({"list": [0, 1, 2, 3]}, "worth"),
        (None, "generated"),
    ],
)
def test_golden_lists_must_come_out_as_export_saw_them(
    serve: Any, toy: Any, tmp_path: Path, entries: list[Any], change: Any, said: str
) -> None:
    entries[0]["generated"] |= change or {}
    if change is None:
        del entries[0]["generated"]
    home = toy.write(tmp_path, entries=entries, generates=toy.generator())
    reason = refused(serve, home)
    assert "golden request 0" in reason
    assert said in reason


def test_another_list_of_the_same_worth_is_a_tie(
    serve: Any, toy: Any, tmp_path: Path, entries: list[Any]
) -> None:
    entries[0]["generated"]["list"].reverse()
    home = toy.write(tmp_path, entries=entries, generates=toy.generator())
    assert serve(bundle=home).loaded().get("/readyz").status_code == 200


def test_another_list_of_another_worth_is_none(
    serve: Any, toy: Any, tmp_path: Path, entries: list[Any]
) -> None:
    entries[0]["generated"] |= {"list": [2, 1, 0], "worth": 1.00005}
    home = toy.write(tmp_path, entries=entries, generates=toy.generator())
    assert "more than ties" in refused(serve, home)


def test_a_generator_that_repeats_never_serves(serve: Any, toy: Any, tmp_path: Path) -> None:
    home = toy.write(tmp_path, generates=toy.generator(repeats=True))
    assert "repeats" in refused(serve, home)


def test_a_generator_that_is_no_number_never_serves(serve: Any, toy: Any, tmp_path: Path) -> None:
    home = toy.write(tmp_path, generates=toy.generator(extra=float("nan")))
    assert "predictions are no finite numbers" in refused(serve, home)


def test_a_scorer_in_the_generators_place_never_serves(
    serve: Any, toy: Any, tmp_path: Path
) -> None:
    home = toy.write(tmp_path, generates=toy.scorer())
    assert "generator.onnx has no output 'chances'" in refused(serve, home)
