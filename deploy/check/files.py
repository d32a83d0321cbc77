"""The part of the check that reads files: schemas, rules and their tests, the dashboard."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from deploy.check import dashboards, grafana, schemas
from deploy.check.tools import ROOT, RULES, missing, run

if TYPE_CHECKING:
    from deploy.check.__main__ import Report

RULE_TESTS: Final = ROOT / "deploy/prometheus/rules_test.yml"


def check(report: Report) -> None:
    """Every check of files."""
    report.step("docker-compose.yml by the Compose schema", compose)
    report.step("deploy/kubernetes by Kubernetes' schemas", kubernetes)
    report.step("dashboard: Grafana's types, ids, places, variables, source", dashboard)
    if reason := missing(("promtool",)):
        report.skip("configuration, rules and their tests", reason)
        return
    report.step("promtool: configuration and rules", rules)
    report.step("promtool: a test of each alert", rule_tests)
    report.step("promtool: every expression of the dashboard", expressions)


def compose() -> str:
    """docker-compose.yml."""
    read = schemas.compose()
    count = schemas.check_compose(read)
    schemas.check_mounts(read)
    return f"{count} services; mounts are there, ports on loopback"


def kubernetes() -> str:
    """deploy/kubernetes."""
    found = schemas.manifests()
    count = schemas.check_manifests(found)
    schemas.check_selectors(found)
    return f"{count} manifests in Kubernetes {' and '.join(schemas.VERSIONS)}"


def dashboard() -> str:
    """What would break silently in Grafana."""
    read = dashboards.read()
    dashboards.check_dashboard(read)
    grafana.check_types(read)
    return f"{sum(1 for _ in dashboards.panels(read))} panels and rows"


def rules() -> str:
    """promtool's own checks. The job for a cluster is checked without its discovery, which Debian's
    build does not know."""
    run("promtool", "check", "rules", *sorted(RULES.glob("*.yml")))
    run("promtool", "check", "config", ROOT / "deploy/prometheus/prometheus.yml")
    settings = yaml.safe_load((ROOT / "deploy/prometheus/kubernetes.yml").read_text())
    for job in settings["scrape_configs"]:
        del job["kubernetes_sd_configs"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubernetes.yml"
        path.write_text(yaml.safe_dump(settings))
        run("promtool", "check", "config", path)
    return f"{len(dashboards.rules())} rules"


def rule_tests() -> str:
    """deploy/prometheus/rules_test.yml."""
    run("promtool", "test", "rules", RULE_TESTS)
    return f"{len(yaml.safe_load(RULE_TESTS.read_text(encoding='utf-8'))['tests'])} scenes"


def expressions() -> str:
    """Dashboard and rules: each expression parses and asks for what is recorded."""
    texts = dashboards.expressions(dashboards.read())
    dashboards.check_expressions(texts)
    asked = {name: rule["expr"] for name, rule in dashboards.rules().items()}
    dashboards.check_recorded(texts | asked)
    return f"{len(texts)} expressions"
