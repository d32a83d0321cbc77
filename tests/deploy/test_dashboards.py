"""The dashboard asks for what is there, and every metric that it or a rule names is scraped."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from deploy.check import dashboards, files, grafana, scrape
from deploy.check.tools import ROOT, Wrong, missing
from service.metrics import Metrics

PROMETHEUS = ("prometheus", "promtool")
promtool = pytest.mark.skipif(bool(missing(("promtool",))), reason=missing(("promtool",)))
prometheus = pytest.mark.skipif(bool(missing(PROMETHEUS)), reason=missing(PROMETHEUS))


def metrics() -> Metrics:
    """The service's metrics once a model is loaded."""
    made = Metrics(CollectorRegistry())
    made.serving("psad-s", "1", 1.0, ("price",))
    return made


@contextmanager
def served(one: Metrics) -> Iterator[str]:
    """The metrics over HTTP; yields host and port."""
    server, thread = start_http_server(0, "127.0.0.1", one.registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def dashboard() -> dict[str, Any]:
    """A copy for a test to break."""
    return copy.deepcopy(dashboards.read())


def test_the_dashboard_is_whole(dashboard: dict[str, Any]) -> None:
    dashboards.check_dashboard(dashboard)
    grafana.check_types(dashboard)


@pytest.mark.parametrize("key", ["gridpos", "fieldconfig"])
def test_a_key_that_grafana_does_not_know_is_found(dashboard: dict[str, Any], key: str) -> None:
    first(dashboard)[key] = {"w": 3}
    with pytest.raises(Wrong, match=key):
        grafana.check_types(dashboard)


def test_a_value_that_is_no_dashboards_is_found(dashboard: dict[str, Any]) -> None:
    first(dashboard)["targets"] = "up"
    with pytest.raises(Wrong):
        grafana.check_types(dashboard)


def first(dashboard: dict[str, Any]) -> dict[str, Any]:
    panel: dict[str, Any] = next(p for p in dashboard["panels"] if p["type"] != "row")
    return panel


def test_a_panel_id_twice_is_found(dashboard: dict[str, Any]) -> None:
    first(dashboard)["id"] = dashboard["panels"][-1]["id"]
    with pytest.raises(Wrong, match="ids repeat"):
        dashboards.check_dashboard(dashboard)


def test_panels_that_overlap_are_found(dashboard: dict[str, Any]) -> None:
    first(dashboard)["gridPos"]["w"] += 1
    with pytest.raises(Wrong, match="overlap"):
        dashboards.check_dashboard(dashboard)


def test_a_variable_that_is_not_declared_is_found(dashboard: dict[str, Any]) -> None:
    first(dashboard)["targets"][0]["expr"] += " > bool $limit"
    with pytest.raises(Wrong, match="limit"):
        dashboards.check_dashboard(dashboard)


def test_a_data_source_that_is_not_provisioned_is_found(dashboard: dict[str, Any]) -> None:
    first(dashboard)["datasource"]["uid"] = "elsewhere"
    with pytest.raises(Wrong, match="elsewhere"):
        dashboards.check_dashboard(dashboard)


@promtool
def test_every_expression_parses_and_asks_for_what_is_recorded() -> None:
    assert files.expressions().endswith(" expressions")


@promtool
def test_an_expression_that_is_cut_short_is_found() -> None:
    with pytest.raises(Wrong, match="parse error"):
        dashboards.check_expressions({"here": "sum(rate(rerank_requests_total[5m])"})


def test_a_name_that_no_rule_records_is_found() -> None:
    with pytest.raises(Wrong, match="job:rerank_nothing:rate5m"):
        dashboards.check_recorded({"here": "job:rerank_nothing:rate5m > 1"})


def test_every_metric_that_is_named_is_one_of_the_service() -> None:
    text = metrics().render().decode()
    samples = {s.name for family in text_string_to_metric_families(text) for s in family.samples}
    named = dashboards.metrics_named()
    assert len(named) > 20
    assert {name: named[name] for name in named.keys() - samples} == {}


def test_the_dashboard_shows_every_metric() -> None:
    shown = dashboards.metrics_named().keys()
    parts = ("_total", "_bucket", "_sum", "_count", "")
    families = [f.name for f in text_string_to_metric_families(metrics().render().decode())]
    unseen = {
        name for name in families
        if not name.endswith("_created")  # when the client made a counter, not ours
        and not any(f"{name}{part}" in shown for part in parts)
    }  # fmt: skip
    assert unseen == set()


def test_grafana_finds_the_folder_that_compose_mounts() -> None:
    provider = ROOT / "deploy/grafana/provisioning/dashboards/psad.yml"
    (one,) = yaml.safe_load(provider.read_text(encoding="utf-8"))["providers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    mounts = [m.split(":")[1] for m in compose["services"]["grafana"]["volumes"]]
    assert one["options"]["path"] in mounts


@prometheus
def test_prometheus_scrapes_every_metric_named_and_runs_every_rule_and_expression() -> None:
    one = metrics()
    with served(one) as target, scrape.prometheus(target) as watcher:
        scrape.wait_until_up(watcher)
        assert scrape.check_metrics(watcher) == len(dashboards.metrics_named())
        assert scrape.check_rules(watcher) == len(dashboards.rules())
        for text in dashboards.expressions(dashboards.read()).values():
            watcher.query(text)  # raises where Prometheus refuses it


@prometheus
def test_a_metric_that_is_not_scraped_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "metrics_named", lambda: {"rerank_nothing": ["a panel"]})
    with served(metrics()) as target, scrape.prometheus(target) as watcher:
        scrape.wait_until_up(watcher)
        with pytest.raises(Wrong, match="rerank_nothing"):
            scrape.check_metrics(watcher)
