"""Rules: each parses, fires when it should, and leads to the page that says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.check import dashboards, files
from deploy.check.tools import ROOT, RULES, Wrong, missing, run

promtool = pytest.mark.skipif(bool(missing(("promtool",))), reason=missing(("promtool",)))
ALERTS = {name: rule for name, rule in dashboards.rules().items() if "alert" in rule}
OPERATIONS = ROOT / "docs" / "operations.md"


@promtool
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    assert files.rules().endswith(" rules")


@promtool
def test_every_alert_fires_in_its_scene_and_no_other_does() -> None:
    assert files.rule_tests().endswith(" scenes")


@promtool
def test_a_rule_that_is_changed_fails_its_scene(tmp_path: Path) -> None:
    for path in RULES.glob("*.yml"):
        text = path.read_text(encoding="utf-8").replace("> 0.25 and", "> 0.95 and")
        (tmp_path / "rules").mkdir(exist_ok=True)
        (tmp_path / "rules" / path.name).write_text(text, encoding="utf-8")
    (tmp_path / "test.yml").write_text(files.RULE_TESTS.read_text(encoding="utf-8"))
    with pytest.raises(Wrong, match="PsadFallbackMost"):
        run("promtool", "test", "rules", tmp_path / "test.yml")


def test_no_alert_goes_without_a_scene_in_which_it_fires() -> None:
    scenes = files.RULE_TESTS.read_text(encoding="utf-8")
    assert set(re.findall(r'alertname="(\w+)"', scenes)) == ALERTS.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"


def test_every_alert_has_its_section_in_the_runbook() -> None:
    headings = re.findall(r"^### (\w+)$", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == list(ALERTS)
