"""What dashboard and rules ask Prometheus for, and what is wrong with the dashboard's file.

Grafana itself is not run: its file is read for what would break silently there.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.check.tools import ROOT, RULES, Wrong, run

DASHBOARD: Final = ROOT / "deploy/grafana/dashboards/psad.json"
SOURCES: Final = ROOT / "deploy/grafana/provisioning/datasources"
_VARIABLES: Final = {
    "$__rate_interval": "1m", "$job": "psad", "$instance": ".*", "$mode": ".*",
}  # fmt: skip
_METRIC: Final = re.compile(r"(?<![\w:])rerank_[a-z0-9_]+")
_RECORDED: Final = re.compile(r"\b[a-z_]+:[a-z0-9_:]+")


def read() -> dict[str, Any]:
    """The dashboard."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return dashboard


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, those inside closed rows included."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def expressions(dashboard: dict[str, Any]) -> dict[str, str]:
    """Where an expression stands -> the expression, the dashboard's variables filled in."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels(dashboard)
        for target in panel.get("targets", ())
    }
    found |= {one["name"]: one["expr"] for one in dashboard["annotations"]["list"]}
    return {place: _filled(text) for place, text in found.items()}


def rules() -> dict[str, dict[str, Any]]:
    """Name of each recording rule or alert -> the rule. Two severities are two names."""
    return {
        rule.get("alert") or rule["record"]: rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }


def metrics_named() -> dict[str, list[str]]:
    """Metric of the service -> the places that name it: expressions, variables, rules."""
    dashboard = read()
    texts = expressions(dashboard) | {name: rule["expr"] for name, rule in rules().items()}
    texts |= {one["name"]: one["definition"] for one in dashboard["templating"]["list"]}
    found: dict[str, list[str]] = {}
    for place, text in texts.items():
        for name in _METRIC.findall(text):
            found.setdefault(name, []).append(place)
    return found


def check_dashboard(dashboard: dict[str, Any]) -> None:
    """Raises Wrong where ids repeat, panels overlap, or a variable or data source is unknown."""
    shown = list(panels(dashboard))
    ids = [panel["id"] for panel in shown]
    if len(set(ids)) < len(ids):
        raise Wrong(f"panel ids repeat: {sorted(i for i in set(ids) if ids.count(i) > 1)}")
    taken: dict[tuple[int, int], str] = {}
    for panel in shown:
        for cell in _cells(panel):
            if cell in taken:
                raise Wrong(f"the panels {panel['title']!r} and {taken[cell]!r} overlap")
            taken[cell] = panel["title"]
    known = {one["name"] for one in dashboard["templating"]["list"]} | {"__rate_interval"}
    if unknown := set(re.findall(r"\$\{?(\w+)", json.dumps(shown))) - known:
        raise Wrong(f"no such variable: {sorted(unknown)}")
    if unknown := _sources_asked(dashboard) - _sources_provisioned():
        raise Wrong(f"no data source is provisioned under the uid {sorted(unknown)}")


def check_expressions(texts: dict[str, str]) -> None:
    """Let promtool parse every expression, as a rule's. Raises Wrong with its message."""
    listed = [
        {"record": "parsed", "expr": text, "labels": {"place": p}} for p, text in texts.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yml"
        path.write_text(yaml.safe_dump({"groups": [{"name": "parsed", "rules": listed}]}))
        run("promtool", "check", "rules", "--lint=none", path)


def check_recorded(texts: dict[str, str]) -> None:
    """Raises Wrong where a name with colons is no recording rule's."""
    known = {name for name in rules() if ":" in name}
    for place, text in texts.items():
        if unknown := set(_RECORDED.findall(re.sub(r'"[^"]*"', '""', text))) - known:
            raise Wrong(f"{place} asks for {sorted(unknown)}, which no rule records")


def _filled(text: str) -> str:
    for name, value in _VARIABLES.items():
        text = text.replace(name, value)
    return text


def _cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    at = panel["gridPos"]
    if not 0 <= at["x"] < at["x"] + at["w"] <= 24:
        raise Wrong(f"the panel {panel['title']!r} leaves the page")
    for x in range(at["x"], at["x"] + at["w"]):
        for y in range(at["y"], at["y"] + at["h"]):
            yield x, y


def _sources_asked(dashboard: dict[str, Any]) -> set[str]:
    return set(re.findall(r'"datasource": \{[^}]*"uid": "([^"]+)"', json.dumps(dashboard)))


def _sources_provisioned() -> set[str]:
    return {
        source["uid"]
        for path in SOURCES.glob("*.yml")
        for source in yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    }
