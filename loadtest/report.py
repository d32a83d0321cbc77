"""An open loop's report: JSON, the picture, and the table that the terminal shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from features.files import write_whole
from loadtest.picture import draw

COLUMNS: Final = ("p50", "p90", "p99", "p99.9", "max")


def write_report(report: dict[str, Any], folder: Path) -> list[Path]:
    """report.json, report.svg and report.png; each written beside, then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"report.{suffix}" for suffix in ("json", "svg", "png")]
    write_whole(paths[0], json.dumps(report, indent=1, allow_nan=False) + "\n")
    for picture in paths[1:]:
        draw(report, picture)
    return paths


def show(report: dict[str, Any], console: Console) -> None:
    """The steps as a table, what was not scored by its reason, and the verdict."""
    title = f"Latency from the intended start, ms: {report['url']}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in ("rate", "offered", "achieved", *COLUMNS, "lag p99", "cores", "fallback", "failed"):
        table.add_column(name, justify="right")
    for step in report["steps"]:
        latency = [_digits(step["latency_ms"][name]) for name in COLUMNS]
        table.add_row(
            f"{step['rate']:g}", f"{step['offered_rate']:.1f}", f"{step['achieved_rate']:.1f}",
            *latency,
            _digits(step["lag_ms"]["p99"]), f"{step['generator_cpu_share']:.2f}",
            str(step["fallbacks"]), str(step["failed"]),
        )  # fmt: skip
    console.print(table)
    for step in report["steps"]:
        for line in _remarks(step):
            console.print(f"{step['rate']:g}/s: {line}", highlight=False, soft_wrap=True)
    console.print(f"Verdict: {report['verdict']}.", highlight=False)


def _remarks(step: dict[str, Any]) -> list[str]:
    others = {label: n for label, n in step["outcomes"].items() if label != "scored"}
    lines = [", ".join(f"{count} {label}" for label, count in others.items())] if others else []
    lines += [f"not held: {step['overload']}"] if step["overload"] else []
    return lines + ([f"NOT TO BE TRUSTED: {step['distrust']}"] if step["distrust"] else [])


def _digits(value: float | None) -> str:
    """Three of them, or the whole number where it has more."""
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
