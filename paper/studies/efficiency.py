"""PSAD's Table 3: what a call and a training step take, by batch size.

    OMP_NUM_THREADS=1 psad reproduce efficiency --data datasets/ml_100k

Needs no trained run. One process times all models in turn; a data set that has its JSON of these
settings is not measured again: `--results FOLDER` measures on a machine of one's own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from data.dataset import Dataset
from export.cost import CANDIDATES, HISTORY
from features.files import write_whole
from model import registry
from model.config import Training
from model.latency import SIZES
from model.machine import commit
from model.report import machine
from model.table import Table, markdown
from paper.cells import configured, digest
from paper.figures import draw_efficiency
from paper.study import TWINS, Asked, Study, StudyError
from paper.timing import (
    PARTS,
    STEPS,
    UPTO,
    exporter,
    parts,
    time_calls,
    time_steps,
)
from paper.worker import write_json

STUDY = Study(
    name="efficiency",
    title="Time of a call and of a training step (Table 3)",
    about=(
        "Calls are those of the exported graphs in ONNX Runtime; a step is forward, backward and "
        "update in PyTorch. Both on one thread of the CPU."
    ),
    variants=("full", "ar-online", "nar-online", "psad-g", "psad-alone", "ar-generator",
              "nar-generator", "prm-like-history", "prm-like", "prm", "dnn"),
    quick=("prm-like-history",),
    split="train",
)  # fmt: skip
# row -> variant, mode, beam (None is the variant's own)
ROWS: dict[str, tuple[str, str, int | None]] = {
    "psad-s": ("full", "scorer", None),
    "psad-g": ("full", "generator", None),
    "psad-g, beam 1": ("full", "generator", 1),
    "ar-generator": ("ar-generator", "generator", None),
    "nar-generator": ("nar-generator", "generator", None),
    "prm-like-history": ("prm-like-history", "scorer", None),
    "prm-like": ("prm-like", "scorer", None),
    "prm": ("prm", "scorer", None),
    "dnn": ("dnn", "scorer", None),
}
BASE, WHOLE = "psad-s", "psad-g"
QUICK: dict[str, Any] = {"sizes": (1, 64), "step_sizes": (64,), "seconds": 0.3, "steps": 2}
WHOLLY: dict[str, Any] = {
    "sizes": SIZES, "step_sizes": SIZES[1:], "seconds": 4.0, "steps": STEPS,
}  # fmt: skip


def run(asked: Asked) -> list[Path]:
    """Measure each data set that is not measured yet, then write the page and its figure.

    What is measured again is measured with all variants that its result had, because times that
    are not of one run cannot be compared.
    """
    datasets = {data.schema.name: data for data in map(Dataset.load, asked.datasets)}
    if len(datasets) < len(asked.datasets):
        raise StudyError(TWINS)
    folder = asked.results / STUDY.name
    for name, dataset in datasets.items():
        place, wanted = folder / f"{name}.json", set(asked.variants(STUDY))
        if place.exists():
            content = json.loads(place.read_text("utf-8"))
            if wanted <= set(content["configuration"]) and _is_current(content, asked):
                continue
            wanted |= set(content["configuration"]) & set(STUDY.variants)
        folder.mkdir(parents=True, exist_ok=True)
        variants = tuple(variant for variant in STUDY.variants if variant in wanted)
        write_json(place, measured(variants, asked, dataset))
    found, left_out = {}, []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        if _is_current(content, asked):
            found[path.stem] = content
        else:
            left_out.append(path.stem)
    if not found:
        raise StudyError(f"{STUDY.name} has no results yet; name a dataset by --data.")
    page = asked.results / f"{STUDY.name}.md"
    shares = {name: parts_of(content["call"]) for name, content in found.items()}
    times = {
        name: {size: _whole(column) for size, column in content["call"]["p50_ms"].items()}
        for name, content in found.items()
    }
    pictures = draw_efficiency(times, shares, BASE, page.with_suffix(""))
    shown = f"![{STUDY.title}]({pictures[0].name})\n"
    made = [table for name, content in found.items() for table in tables(name, content)]
    body = markdown(header(found, left_out), made)
    write_whole(page, "\n".join([f"# {STUDY.title}\n", f"{STUDY.about}\n", shown, body]))
    return [page, *pictures]


def measured(variants: tuple[str, ...], asked: Asked, dataset: Dataset) -> dict[str, Any]:
    """All times of one data set's models, and what led to them."""
    name, plan = dataset.schema.name, _plan(asked)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        graphs = {}
        for row, (variant, mode, beam) in ROWS.items():
            if variant in variants and not (asked.quick and beam):
                ranker = _untrained(variant, asked, dataset)
                if beam:
                    ranker.beam = beam
                graphs[row] = exporter(ranker, mode)
                if row == WHOLE and not asked.quick:
                    graphs |= {f"{UPTO}{part}": one for part, one in parts(ranker).items()}
        calls = time_calls(dataset.schema, graphs, plan["sizes"], plan["seconds"])
        rankers = {
            variant: (_untrained(variant, asked, dataset), _training(variant, asked, dataset))
            for variant in variants
        }
        steps = time_steps(rankers, dataset, plan["step_sizes"], plan["steps"])
    finally:
        torch.set_num_threads(before)
    return {
        "study": STUDY.name,
        "dataset": name,
        "call": calls,
        "step_ms": steps,
        "history": HISTORY,
        "candidates": CANDIDATES,
        "steps": plan["steps"],
        "configuration": {variant: _values(variant, asked, name) for variant in variants},
        "settings": _settings(variants, asked, name),
        "reproduced_by": asked.command(STUDY),
        "commit": commit(),
        "machine": f"{machine()}, onnxruntime {onnxruntime.__version__}, one thread",
        "date": datetime.now(UTC).date().isoformat(),
    }


def header(found: dict[str, Any], left_out: Sequence[str] = ()) -> dict[str, str]:
    """What was measured by what."""
    one = next(iter(found.values()))
    asked_for = (
        f"a history of {one['history']} and {one['candidates']} candidates, drawn at random; "
        "weights are untrained, which takes the same time"
    )
    keys = ("reproduced_by", "commit", "machine", "date")
    titles = ("command", "commit", "machine", "date")
    distinct = [sorted({str(content[key]) for content in found.values()}) for key in keys]
    return {
        "requests": asked_for,
        "configurations": "paper/configs/NAME.toml, with what configs/data/ has for the data set; "
        "psad-s and psad-g are the two networks of full; prm-like is as wide and deep as "
        "their encoder",
        **{title: "; ".join(values) for title, values in zip(titles, distinct, strict=True)},
        **(
            {"left out": f"{', '.join(left_out)}, measured with other settings"} if left_out else {}
        ),
    }


def tables(name: str, content: dict[str, Any]) -> list[Table]:
    """Calls with their ratio to PSAD-S, PSAD-G by its parts, and steps."""
    calls = content["call"]
    sizes = list(calls["p50_ms"])
    columns = ("model", "MFLOP", "nodes", *(f"batch {size}" for size in sizes))
    body = [
        (row, _ratio(calls["mflop"], row), str(calls["nodes"][row]),
         *(_ratio(calls["p50_ms"][size], row) for size in sizes))
        for row in _whole(calls["mflop"])
    ]  # fmt: skip
    made = [
        Table(
            f"{name}: a call, p50 in ms", columns, tuple(body),
            f"In brackets the ratio to {BASE}, from one run of all models in turn. MFLOP: products "
            "alone, for one list. Nodes: of the exported graph.",
        )
    ]  # fmt: skip
    if by_part := parts_of(calls):
        rows = [
            (part, f"{by_part['mflop'][part]:.2f}", *(_part(by_part[size], part) for size in sizes))
            for part in PARTS
        ]
        note = (
            "Differences of graphs that are cut after each part; in brackets the share of all. "
            "The evaluator judges lists, and swaps of neighbours where there is *polish*."
        )
        titles = ("part", "MFLOP", *(f"batch {size}" for size in sizes))
        made.append(Table(f"{name}: parts of {WHOLE}, ms", titles, tuple(rows), note))
    steps = content["step_ms"]
    rows = [(variant, *(_ratio(steps[size], variant, "full") for size in steps))
            for variant in next(iter(steps.values()))]  # fmt: skip
    titles = ("configuration", *(f"batch {size}" for size in steps))
    note = (
        f"Median of {content['steps']} steps on the data set's own train lists; in brackets the "
        "ratio to *full*, which trains both networks at once; *psad-g* and *psad-alone* train one."
    )
    return [*made, Table(f"{name}: a training step, ms", titles, tuple(rows), note)]


def parts_of(calls: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What each part adds to `mflop` and to the time at each size; empty where it was left out."""
    columns = {"mflop": calls["mflop"]} | calls["p50_ms"]
    if f"{UPTO}{PARTS[0]}" not in calls["mflop"]:
        return {}
    found = {}
    for name, column in columns.items():
        ends = [*(column[f"{UPTO}{part}"] for part in PARTS[:-1]), column[WHOLE]]
        found[name] = {
            part: end - start for part, start, end in zip(PARTS, [0.0, *ends], ends, strict=False)
        }
    return found


def _whole(column: Mapping[str, float]) -> dict[str, float]:
    """Without the rows of graphs that were cut."""
    return {row: value for row, value in column.items() if not row.startswith(UPTO)}


def _part(column: dict[str, float], part: str) -> str:
    return f"{column[part]:.3g} ({column[part] / sum(column.values()):.0%})"


def _ratio(column: dict[str, float], row: str, base: str = BASE) -> str:
    value = f"{column[row]:.3g}"
    return f"{value} ({column[row] / column[base]:.2f}×)" if base in column else value


def _untrained(variant: str, asked: Asked, dataset: Dataset) -> Any:
    found = configured(variant, asked, dataset.schema.name)
    return registry.find(found.model).Ranker(dataset.schema, found.settings)


def _training(variant: str, asked: Asked, dataset: Dataset) -> Training:
    return configured(variant, asked, dataset.schema.name).training


def _values(variant: str, asked: Asked, data: str) -> dict[str, Any]:
    found = configured(variant, asked, data)
    return {"model": found.model, "preset": found.preset,
            "settings": found.settings.model_dump(mode="json"),
            "training": found.training.model_dump(mode="json", exclude={"seed"})}  # fmt: skip


def _plan(asked: Asked) -> dict[str, Any]:
    return QUICK if asked.quick else WHOLLY


def _settings(variants: Collection[str], asked: Asked, data: str) -> str:
    """Fingerprint of what is measured and how; of the code the page names the commit."""
    values = {variant: _values(variant, asked, data) for variant in variants}
    return digest({"values": values, "plan": _plan(asked), "requests": [HISTORY, CANDIDATES]})


def _is_current(content: Mapping[str, Any], asked: Asked) -> bool:
    """Whether a result is of the settings that its variants have now."""
    variants, known = set(content["configuration"]), set(STUDY.variants)
    data = content["dataset"]
    return variants <= known and content["settings"] == _settings(variants, asked, data)
