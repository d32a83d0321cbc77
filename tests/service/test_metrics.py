"""Metrics: what design asks for is there from the start, and counts what happened."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from service.metrics import Metrics

NAMES = (
    "requests_total", "request_duration_seconds_bucket", "stage_duration_seconds_bucket",
    "candidates_bucket", "history_length_bucket", "fallback_total", "shed_total",
    "inflight_requests", "model_info", "model_load_timestamp_seconds", "model_reload_total",
    "nonfinite_scores_total", "unknown_items_total", "unknown_features_total", "late_total",
    "order_kendall_tau_bucket", "score_bucket", "shadow_kendall_tau_bucket", "history_cut_total",
    "model_created_timestamp_seconds", "latency_objective_seconds",
)  # fmt: skip


def test_every_metric_is_scraped_from_the_start(api: Any) -> None:
    text = api.get("/metrics").text
    for name in NAMES:
        assert f"\nrerank_{name}" in text, name
    for sample in (
        'requests_total{status="504"}', 'fallback_total{reason="no_model"}',
        'shed_total{reason="queue"}', 'unknown_features_total{feature="price"}',
        'unknown_features_total{feature="other"}', 'model_info{name="toy-s",version="1"} 1.0',
        'stage_duration_seconds_count{mode="generator",stage="queue"}',
        'request_duration_seconds_count{mode="scorer"} 0.0',
        'request_duration_seconds_count{mode="generator"} 0.0',
        'model_reload_total{result="success"} 1.0',
    ):  # fmt: skip
        assert f"\nrerank_{sample}" in text, sample


def test_a_request_is_counted_once_everywhere(serve: Any) -> None:
    api = serve().loaded()
    api.post({"candidates": ["100", "105", "103"], "history": ["101", "102"]})
    assert api.metric("requests_total", status="200") == 1
    assert api.metric("request_duration_seconds_count", mode="scorer") == 1
    assert api.metric("request_duration_seconds_count", mode="generator") == 0
    for stage in ("decode", "queue", "encode", "score", "order"):
        assert api.metric("stage_duration_seconds_count", stage=stage, mode="scorer") == 1
        assert api.metric("stage_duration_seconds_count", stage=stage, mode="generator") == 0
    assert api.metric("candidates_sum") == 3
    assert api.metric("history_length_sum") == 2
    assert api.metric("score_count") == 3
    assert api.metric("order_kendall_tau_bucket", le="-0.4") == 0  # it is -1/3
    assert api.metric("order_kendall_tau_bucket", le="-0.3") == 1
    assert api.metric("inflight_requests") == 0


def test_errors_are_counted_by_status_and_other_paths_are_not(serve: Any) -> None:
    api = serve().loaded()
    api.post(b"{")
    api.post({"candidates": 3}, "/v1/rerank")
    api.get("/rerank")
    api.get("/nowhere")
    counted = {code: api.metric("requests_total", status=str(code)) for code in (400, 422, 405)}
    assert counted == {400: 1, 422: 1, 405: 1}
    assert api.metric("requests_total", status="404") == 0


def test_buckets_begin_at_a_quarter_millisecond_and_have_the_objective_as_edge() -> None:
    metrics = Metrics(CollectorRegistry(), objective=0.0123)
    text = metrics.render().decode()
    edges = [
        line.split('le="')[1].split('"')[0]
        for line in text.splitlines()
        if line.startswith("rerank_request_duration_seconds_bucket")
    ]
    assert edges[0] == "0.00025"
    assert "0.0123" in edges


def test_the_age_of_the_model_is_that_of_its_export_and_not_of_its_load(serve: Any) -> None:
    api = serve().loaded()
    assert api.metric("model_created_timestamp_seconds") == 1_767_225_600  # 2026-01-01, as written
    assert api.metric("model_load_timestamp_seconds") > 1_767_225_600


def test_the_objective_that_alerts_compare_with_is_the_deadline_that_was_set(serve: Any) -> None:
    assert serve(deadline_ms=20).metric("latency_objective_seconds") == 0.02


def test_two_registries_do_not_meet() -> None:
    first, second = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    first.answered(200, 0.001)
    assert second.registry.get_sample_value("rerank_requests_total", {"status": "200"}) == 0


def test_an_unforeseen_status_makes_no_new_label() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.answered(418, 0.001)
    assert 'status="418"' not in metrics.render().decode()
