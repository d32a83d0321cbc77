"""Prometheus with the repository's own configuration, scraping a service that runs here."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from cli.demo_service import free_port
from deploy.check.dashboards import metrics_named
from deploy.check.tools import ROOT, RULES, Wrong, get, wait_for

CONFIG: Final = ROOT / "deploy/prometheus/prometheus.yml"
TARGET: Final = "psad:8000"  # as the file names the service; replaced by where it runs here


class Prometheus:
    """One that runs; answers questions over its HTTP API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str) -> Any:
        """The `data` of an answer. Raises Wrong where the answer is no success."""
        answer = json.loads(get(f"{self.url}/api/v1/{path}"))
        if answer["status"] != "success":
            raise Wrong(f"Prometheus refuses {path}: {answer.get('error')}")
        return answer["data"]

    def query(self, expression: str) -> list[Any]:
        """The result of an expression now."""
        result: list[Any] = self.ask(f"query?query={quote(expression)}")["result"]
        return result

    def names(self) -> set[str]:
        """The names of every metric it holds."""
        return set(self.ask("label/__name__/values"))


@contextmanager
def prometheus(target: str, interval: str = "1s") -> Iterator[Prometheus]:
    """Prometheus by prometheus.yml, but for where the service is and how often it is asked."""
    with tempfile.TemporaryDirectory(prefix="psad-prometheus-") as name:
        folder, port = Path(name), free_port()
        shutil.copytree(RULES, folder / "rules")
        (folder / "prometheus.yml").write_text(_configured(target, port, interval))
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            one = Prometheus(port)
            wait_for("Prometheus that is ready", lambda: get(f"{one.url}/-/ready"))
            yield one
        finally:
            process.terminate()
            process.wait(30)


def _configured(target: str, port: int, interval: str) -> str:
    text = CONFIG.read_text(encoding="utf-8")
    for given, here in ((TARGET, target), ("localhost:9090", f"127.0.0.1:{port}")):
        if text.count(f'"{given}"') != 1:
            raise Wrong(f"{CONFIG.name} does not name {given} once")
        text = text.replace(f'"{given}"', f'"{here}"')
    settings = yaml.safe_load(text)
    settings["global"] |= {"scrape_interval": interval, "evaluation_interval": interval}
    for job in settings["scrape_configs"]:
        job["scrape_timeout"] = interval
    return str(yaml.safe_dump(settings))


def wait_until_up(one: Prometheus) -> None:
    """Until the service has been scraped three times: a rate needs two. Raises Wrong."""
    wait_for("scraped service", lambda: one.query('up{job="psad"} == 1'), 60)
    wait_for_more(one)


def wait_for_more(one: Prometheus, scrapes: int = 3) -> None:
    """Until so many more scrapes were made. Raises Wrong."""
    count = 'count_over_time(up{job="psad"}[5m])'
    before = sum(float(series["value"][1]) for series in one.query(count))
    wait_for("further scrape", lambda: one.query(f"{count} >= {before + scrapes}"), 60)


def check_metrics(one: Prometheus) -> int:
    """How many metrics dashboard and rules name. Raises Wrong where one was not scraped."""
    named, held = metrics_named(), one.names()
    if lacking := {name: named[name] for name in named.keys() - held}:
        raise Wrong(f"named and not found in a scrape: {lacking}")
    return len(named)


def check_rules(one: Prometheus) -> int:
    """How many rules Prometheus runs. Raises Wrong where it could not evaluate one."""

    def healthy() -> list[Any]:
        groups = one.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if rules and all(rule["health"] == "ok" for rule in rules) else []

    return len(wait_for("round of rules without a fault", healthy, 60))
