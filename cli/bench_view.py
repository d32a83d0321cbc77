"""The figures of `psad bench` as three tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cli.bench import ONNX, TORCH

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
    console.print(f"\n{_quiet(found)}", markup=False, soft_wrap=True)
    console.print(f"\nAs JSON: {found['file']}", markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    made = Table("", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right")
    return made


def _scorer(found: Mapping[str, Any]) -> tuple[str, Table, str]:
    """Against the floor: what its products would take at the machine's own rate."""
    title = f"The scorer alone, one list: {found['history']} + {found['candidates']} items"
    made, floor = _table("p50 ms", "p99 ms", "× floor"), found["floor"]
    made.add_row("floor", f"{floor['p50_ms']:.3f}", "", "1.00")
    for name, shown in NAMES.items():
        if one := found["scorer"].get(name):
            made.add_row(shown, *_quantiles(one), _times(one, floor))
    note = (
        f"floor: {found['mflop']:.1f} MFLOP at the {found['sgemm_gflops']:.0f} GFLOP/s of this "
        f"machine's sgemm, 512 × 512. Everything on one thread, "
        f"{found['scorer'][ONNX]['calls']:,} calls a row."
    )
    if why_not := found["torch_left_out"]:
        made.add_row(NAMES[TORCH], "–", "–", "–")
        note += f"\n{NAMES[TORCH]}: {why_not}"
    return title, made, note


def _service(found: Mapping[str, Any]) -> tuple[str, Table, str]:
    made = _table("bytes", "p50 ms", "p99 ms", "× scorer", "sent", "caller p50", "caller p99",
                  "× scorer")  # fmt: skip
    base = found["scorer"][ONNX]
    for form, one in found["service"].items():
        own, seen = one["service"], one["caller"]
        sent = f"{one['mean_until_sent_ms']:.3f}"
        made.add_row(form, f"{one['bytes']:,}", *_quantiles(own), _times(own, base), sent,
                     *_quantiles(seen), _times(seen, base))  # fmt: skip
    note = (
        "p50 and p99: from the request's arrival in the process until its answer is ordered and "
        "timed, as the answer says; sent: until it has left, a mean."
    )
    return "A request to the service on loopback, one caller at a time", made, note


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


def _quiet(found: Mapping[str, Any]) -> str:
    """The same ratios where other work is in the way least."""
    base = found["scorer"][ONNX]
    rows = {form: one["service"] for form, one in found["service"].items()}
    forms = ", ".join(f"{form} {_times(one, base, 'p10_ms')}" for form, one in rows.items())
    return (
        f"By p10, which other work on the machine touches least (load {found['load']:.1f}): ONNX "
        f"Runtime {_times(base, found['floor'], 'p10_ms')} times the floor; of the scorer's time "
        f"of {base['p10_ms']:.3f} ms the service takes {forms} times as much."
    )


def _times(one: Mapping[str, float], base: Mapping[str, float], which: str = "p50_ms") -> str:
    return f"{one[which] / base[which]:.2f}" if base[which] else "–"  # a graph without products


def _quantiles(one: Mapping[str, float]) -> tuple[str, str]:
    return f"{one['p50_ms']:.3f}", f"{one['p99_ms']:.3f}"
