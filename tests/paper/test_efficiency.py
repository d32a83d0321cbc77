"""Times are of the models that are named, their parts add up, and what is measured stays."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data.dataset import Dataset
from export.cost import random_lists
from export.onnx import input_names
from model import registry
from model.config import Training
from paper import timing
from paper.studies import efficiency
from paper.study import Asked, StudyError
from paper.timing import PARTS, Upto, time_calls, time_steps

CALLS = {
    "mflop": {"psad-s": 4.0, "psad-g": 10.0} | {
        f"up to {part}": value for part, value in zip(PARTS, (3.0, 5.0, 8.0, 9.0), strict=False)
    },
    "nodes": dict.fromkeys(("psad-s", "psad-g"), 7),
    "p50_ms": {
        "64": {"psad-s": 2.0, "psad-g": 8.0, "up to encoder": 2.0, "up to memory": 2.5,
               "up to search": 5.5, "up to refinement": 6.0},
    },
}  # fmt: skip


def test_a_graph_cut_after_a_later_part_does_more(dataset: Dataset, tiny: dict[str, str]) -> None:
    module = registry.find("psad")
    sizes = {key: int(tiny[key]) for key in ("width", "heads", "embedding_width", "profile_width")}
    ranker = module.Ranker(dataset.schema, module.Config(**sizes)).eval()
    names = input_names(dataset.schema)
    arrays = random_lists(dataset.schema, 2)
    inputs = [torch.from_numpy(arrays[name]) for name in names]
    counts = []
    for part in PARTS[:-1]:
        with torch.autograd.profiler.profile() as profile, torch.no_grad():
            assert Upto(ranker, names, part)(*inputs).shape == (2,)
        counts.append(sum(one.count for one in profile.key_averages()))
    assert counts == sorted(set(counts))


def test_parts_are_differences_and_add_up_to_the_whole() -> None:
    found = efficiency.parts_of(CALLS)
    assert found["mflop"] == dict(zip(PARTS, (3.0, 2.0, 3.0, 1.0, 1.0), strict=True))
    assert found["64"] == dict(zip(PARTS, (2.0, 0.5, 3.0, 0.5, 2.0), strict=True))
    whole = {"mflop": {"psad-g": 1.0}, "p50_ms": {}}
    assert efficiency.parts_of(whole) == {}


def test_tables_show_ratios_to_the_scoring_network() -> None:
    content = {"call": CALLS, "step_ms": {"64": {"full": 100.0, "prm": 25.0}}, "steps": 10}
    calls, by_part, steps = efficiency.tables("shop", content)
    assert calls.rows == (
        ("psad-s", "4 (1.00×)", "7", "2 (1.00×)"), ("psad-g", "10 (2.50×)", "7", "8 (4.00×)"),
    )  # fmt: skip
    assert by_part.rows[2] == ("search", "3.00", "3 (38%)")
    assert steps.rows == (("full", "100 (1.00×)"), ("prm", "25 (0.25×)"))


def test_steps_are_timed_at_each_batch_size(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bool]] = []
    module = registry.find("dnn")
    ranker = module.Ranker(dataset.schema, module.Config())
    plain = timing.Loop.step

    def step(self: Any, batch: Any) -> Any:
        seen.append((len(batch.candidate_mask), self.model.training))
        return plain(self, batch)

    monkeypatch.setattr(timing.Loop, "step", step)
    found = time_steps({"dnn": (ranker, Training())}, dataset, (2, 8), steps=3)
    assert seen == [(2, True)] * 4 + [(8, True)] * 4
    assert found.keys() == {"2", "8"}
    assert all(one["dnn"] > 0 for one in found.values())


def test_a_dataset_is_measured_once_and_its_page_made_again_of_what_is_there(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        efficiency, "ROWS", {"psad-s": ("full", "scorer", None), "dnn": ("dnn", "scorer", None)}
    )
    wanted = replace(asked, only=("dnn",))
    threads = torch.get_num_threads()
    page, *pictures = efficiency.run(wanted)
    assert torch.get_num_threads() == threads
    text = page.read_text()
    assert "### shop: a call, p50 in ms" in text
    assert [path.suffix for path in pictures] == [".svg", ".png"]
    content = json.loads((asked.results / "efficiency/shop.json").read_text())
    assert content["configuration"].keys() == {"full", "dnn"}
    assert {"commit", "machine", "reproduced_by", "date"} <= content.keys()
    assert all(np.isfinite(list(one.values())).all() for one in content["call"]["p50_ms"].values())

    monkeypatch.setattr(efficiency, "measured", lambda *_: pytest.fail("measured again"))
    for again in (wanted, replace(wanted, datasets=()), replace(wanted, only=("full",))):
        assert efficiency.run(again)[0].read_text() == text
    asked_for: list[tuple[str, ...]] = []

    def measured(variants: tuple[str, ...], *_: Any) -> dict[str, Any]:
        asked_for.append(variants)
        return content

    monkeypatch.setattr(efficiency, "measured", measured)
    efficiency.run(replace(wanted, only=("prm",)))
    assert asked_for == [("full", "prm", "dnn")]  # nothing that was there is lost


def test_results_of_other_settings_are_left_out_and_named(asked: Asked) -> None:
    wanted = replace(asked, only=("dnn",))
    folder = asked.results / "efficiency"
    folder.mkdir(parents=True)
    call = {"mflop": {"psad-s": 1.0}, "nodes": {"psad-s": 1}, "p50_ms": {"1": {"psad-s": 1.0}}}
    for name, changed in (("shop", {}), ("other", {"settings": "of old"})):
        content = {
            "dataset": name, "call": call, "step_ms": {"64": {"full": 1.0}}, "steps": 10,
            "history": 50, "candidates": 30, "configuration": {"full": {}, "dnn": {}},
            "settings": efficiency._settings(["full", "dnn"], wanted, name), "commit": "abc",
            "reproduced_by": "psad", "machine": "one", "date": "today",
        }  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content | changed))
    text = efficiency.run(replace(wanted, datasets=()))[0].read_text()
    assert "- **left out**: other, measured with other settings" in text
    assert "### shop: a call" in text
    assert "### other" not in text


def test_two_datasets_of_one_name_are_refused(asked: Asked) -> None:
    with pytest.raises(StudyError, match="one name, and their results one place"):
        efficiency.run(replace(asked, datasets=asked.datasets * 2))


def test_without_results_a_dataset_is_asked_for(asked: Asked) -> None:
    with pytest.raises(StudyError, match="no results yet; name a dataset"):
        efficiency.run(replace(asked, datasets=()))


def test_graphs_are_written_once_and_called_at_every_size(dataset: Dataset) -> None:
    module = registry.find("dnn")
    ranker = module.Ranker(dataset.schema, module.Config())
    made = {"dnn": timing.exporter(ranker, "scorer")}
    found = time_calls(dataset.schema, made, (1, 3), 0.0)
    assert found["p50_ms"].keys() == {"1", "3"}
    assert found["nodes"]["dnn"] > 3
    assert found["mflop"]["dnn"] > 0
