"""The figures of `psad bench` as three tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.bench import ONNX, TORCH
from export.cost import HISTORY
from model.machine import Load

BY = "Ratios are of p10, which other work on the machine touches least."
NAMES = {ONNX: "ONNX Runtime", TORCH: "PyTorch, eager"}


def show(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Print them."""
    console = console or Console(highlight=False)
    model = found["bundle"]
    console.print(f"\n{model['name']}, version {model['version']}, on {found['machine']}")
    for title, table, note in (_scorer(found), _service(found), _stages(found)):
        console.print(f"\n[bold]{title}[/]")
        console.print(table)
        console.print(note, markup=False, soft_wrap=True)
    console.print(f"\n[bold]Result:[/] {escape(result(found))}", soft_wrap=True)
    if doubt := warning(found):
        console.print(f"[yellow]Careful:[/] {escape(doubt)}", soft_wrap=True)
    console.print(f"\nAs JSON: {found['file']}", markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    made = Table("", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for name in columns:
        made.add_column(name, justify="right")
    return made


def _scorer(found: Mapping[str, Any]) -> tuple[str, Table, str]:
    """Against the floor: what its products would take at the machine's own rate."""
    title = f"The scorer alone, one list: {found['history']} + {found['candidates']} items"
    made, floor = _table("p10 ms", "p50 ms", "p99 ms", "× floor"), found["floor"]
    made.add_row("floor", f"{floor['p10_ms']:.3f}", f"{floor['p50_ms']:.3f}", "", "1.00")
    for name, shown in NAMES.items():
        if one := found["scorer"].get(name):
            made.add_row(shown, *_quantiles(one), _times(one, floor))
    note = (
        f"floor: {found['mflop']:.1f} MFLOP at the {found['sgemm_gflops']:.0f} GFLOP/s of this "
        f"machine's sgemm, 512 × 512. Everything on one thread, "
        f"{found['scorer'][ONNX]['calls']:,} calls a row. {BY}"
    )
    if found["history"] < HISTORY:
        note += f"\nA history of {found['history']}: this bundle reads no more."
    if why_not := found["torch_left_out"]:
        made.add_row(NAMES[TORCH], "–", "–", "–", "–")
        note += f"\n{NAMES[TORCH]}: {why_not}"
    return title, made, note


def _service(found: Mapping[str, Any]) -> tuple[str, Table, str]:
    made = _table("bytes", "p10", "p50", "p99", "× scorer", "sent", "caller p10", "caller p50",
                  "caller p99")  # fmt: skip
    base = found["scorer"][ONNX]
    for form, one in found["service"].items():
        own, seen = one["service"], one["caller"]
        sent = f"{one['mean_until_sent_ms']:.2f}"
        made.add_row(form, f"{one['bytes']:,}", *_quantiles(own, 2), _times(own, base), sent,
                     *_quantiles(seen, 2))  # fmt: skip
    note = (
        "p10, p50 and p99: from the request's arrival in the process until its answer is ordered "
        f"and timed, as the answer says; sent: until it has left, a mean. {BY}"
    )
    return "A request to the service on loopback, one caller at a time, in ms", made, note


def _stages(found: Mapping[str, Any]) -> tuple[str, Table, str]:
    """Where that time goes, and what the caller waits for besides."""
    stages = next(iter(found["service"].values()))["stages_p50_ms"]
    made = _table(*stages, "way to the caller")
    for form, one in found["service"].items():
        way = one["caller"]["p50_ms"] - one["service"]["p50_ms"]
        made.add_row(form, *(f"{value:.3f}" for value in one["stages_p50_ms"].values()),
                     f"{way:.3f}")  # fmt: skip
    note = "rest: reading the body, the way back from the scoring thread."
    return "By stage, p50 in ms", made, note


def result(found: Mapping[str, Any]) -> str:
    """What was found, in one sentence; all by p10, as the ratios of the tables are."""
    base, floor = found["scorer"][ONNX], found["floor"]
    form, one = next(iter(found["service"].items()))
    service = one["service"]
    return (
        f"one list takes the scorer {base['p10_ms']:.2f} ms, {_times(base, floor)} times "
        f"the floor, and a request as {form} takes the service {service['p10_ms']:.2f} ms, "
        f"{_times(service, base)} times the scorer (all p10)."
    )


def warning(found: Mapping[str, Any]) -> str:
    """What to doubt on a machine that had other work; nothing on a quiet one."""
    load = Load(found["load"], found["cores"])
    if not load.busy:
        return ""
    return (
        f"the machine had other work (load {load} before): p50 and p99 say as much of that as of "
        "this bundle. Run it again on a quiet machine before you size anything by them."
    )


def _times(one: Mapping[str, float], base: Mapping[str, float], which: str = "p10_ms") -> str:
    return f"{one[which] / base[which]:.2f}" if base[which] else "–"  # a graph without products


def _quantiles(one: Mapping[str, float], digits: int = 3) -> list[str]:
    return [f"{one[name]:.{digits}f}" for name in ("p10_ms", "p50_ms", "p99_ms")]
