"""From cells to pages: what is made, what is kept, what is made again."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.dataset import Dataset
from model.evaluate import evaluate
from model.train import load_run, train
from paper import pages, runner, studies, study, worker
from paper import reproduce as command
from paper.records import Record, read_results
from paper.reproduce import make_cells, run_cells
from paper.studies import ablation, distillation, hyperparameters, interaction, quality
from paper.study import RESULTS, Asked, StudyError


@pytest.fixture(scope="module")
def once(dataset: Dataset, tiny: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Table 4 with one variant and the full model, two seeds; tests copy it."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "QUICK_SETTINGS", tiny)
        patch.setattr(runner, "train", lambda run: worker.main(run.words))
        asked = Asked((dataset.folder,), 2, 1, folder / "runs", folder / "results", ("wo-ce",),
                      quick=True)  # fmt: skip
        ablation.run(asked)
    return asked


@pytest.fixture
def made(asked: Asked, once: Asked) -> Asked:
    """The same in folders of the test's own."""
    shutil.copytree(once.runs, asked.runs)
    shutil.copytree(once.results, asked.results)
    return asked


def test_a_result_says_what_it_is_and_how_it_was_made(made: Asked, dataset: Dataset) -> None:
    path = made.results / "ablation/shop/wo-ce-1.json"
    found = json.loads(path.read_text())
    assert (found["study"], found["variant"], found["seed"]) == ("ablation", "wo-ce", 1)
    assert set(found["rows"]) == {"scorer", "generator"}
    ranker, config = load_run(found["run"])
    for split in ("valid", "test"):
        again = evaluate(ranker, dataset, split, mode="generator").means()
        assert found["rows"]["generator"][split] == pytest.approx(again, abs=1e-6)
    assert found["configuration"]["settings"]["refine"] == config.settings["refine"] == 0
    assert found["configuration"]["training"]["seed"] == 1
    assert found["training"]["seconds"] > 0
    assert {"commit", "machine", "date", "command", "parameters"} <= found.keys()
    assert found["reproduced_by"].startswith("psad reproduce ablation --data ")


def test_what_is_made_is_not_made_again_and_what_is_lost_is(
    made: Asked, trained: list[str]
) -> None:
    ablation.run(made)
    assert trained == []
    (made.results / "ablation/shop/full-1.json").unlink()
    ablation.run(made)
    assert trained == ["full-1"]  # its run is there, so that nothing is trained


def test_other_settings_make_a_cell_again(
    made: Asked, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "QUICK_SETTINGS", study.QUICK_SETTINGS | {"width": "16"})
    ablation.run(replace(made, seeds=1))
    assert trained == ["wo-ce-0", "full-0"]
    page = (made.results / "ablation.md").read_text()
    assert "2 results of settings or data that are no longer these" in page
    assert "shop/full-1" in page


def test_another_study_takes_the_result_without_the_run(made: Asked, trained: list[str]) -> None:
    shutil.rmtree(made.runs)
    distillation.run(replace(made, only=("sar-online",)))
    assert trained == []
    taken, origin = (
        json.loads((made.results / name).read_text())
        for name in ("distillation/shop/sar-online-1.json", "ablation/shop/full-1.json")
    )
    own = {"study": "distillation", "variant": "sar-online"}
    own["reproduced_by"] = replace(made, only=("sar-online",)).command(distillation.STUDY)
    assert taken == origin | own
    lists, others = (
        (made.results / name).read_bytes()
        for name in ("distillation/shop/sar-online-1.npz", "ablation/shop/full-1.npz")
    )
    assert lists == others


def lose_lists(result: Path) -> None:
    """Leave a result without its values list by list, beside it or in its run."""
    result.write_text(json.dumps(json.loads(result.read_text()) | {"run": "gone"}))
    result.with_suffix(".npz").unlink()


def test_a_result_without_values_list_by_list_is_not_taken(made: Asked, trained: list[str]) -> None:
    lose_lists(made.results / "ablation/shop/full-0.json")
    shutil.rmtree(made.runs)
    distillation.run(replace(made, only=("sar-online",)))
    assert trained == ["sar-online-0"]


def test_a_page_says_what_it_could_not_compare(made: Asked, trained: list[str]) -> None:
    lose_lists(made.results / "ablation/shop/full-0.json")
    ablation.run(replace(made, datasets=()))
    page = (made.results / "ablation.md").read_text()
    assert "1 results whose values list by list are not here" in page
    assert "shop/full-0" in page
    assert "against full" not in page


def test_a_study_of_other_lists_takes_no_result_but_shares_the_run(
    made: Asked, trained: list[str], dataset: Dataset
) -> None:
    hyperparameters.run(replace(made, only=("block-3",)))
    assert trained == ["block-3-0", "block-3-1"]  # full is the same run, and made with it
    folders = {path.name for path in (made.runs / "shop").iterdir() if path.is_dir()}
    assert len(folders) == 4  # the two of the full model, and the two of wo-ce
    with np.load(made.results / "hyperparameters/shop/block-3-1.npz") as values:
        assert set(values["lists"]) == set(dataset.splits["valid"])


def test_the_page_is_made_of_the_results_alone(made: Asked, trained: list[str]) -> None:
    page = made.results / "ablation.md"
    before = page.read_text()
    page.unlink()
    for run in (made.runs / "shop").iterdir():
        if run.is_dir():
            run.rename(run.with_name(f"gone-{run.name}"))
    ablation.run(replace(made, datasets=()))
    assert page.read_text() == before
    assert trained == []


def test_the_page_has_means_deviations_and_paired_intervals(made: Asked) -> None:
    page = (made.results / "ablation.md").read_text()
    found = read_results(
        made, ablation.STUDY, lambda name, data: command.settings_of(name, made, data)
    )
    groups = found.groups["shop"]
    files = [made.results / f"ablation/shop/wo-ce-{seed}.json" for seed in range(2)]
    values = [json.loads(f.read_text())["rows"]["generator"]["test"]["map@5"] for f in files]
    assert f"| {np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} |" in page
    ours, full = (groups[name].by_list("generator", "ndcg@10") for name in ("wo-ce", "full"))
    assert f"| wo-ce | {np.mean(ours - full):+.4f} | [" in page
    for said in ("commit", "machine", "command", "date", "judged on", "| refine=0 |"):
        assert said in page


def test_a_variant_is_compared_over_the_seeds_that_the_base_has_too(made: Asked) -> None:
    (made.results / "ablation/shop/wo-ce-0.json").unlink()
    ablation.run(replace(made, datasets=()))
    page = (made.results / "ablation.md").read_text()
    ours, full = (
        np.load(made.results / f"ablation/shop/{name}-1.npz")["generator/ndcg@10"]
        for name in ("wo-ce", "full")
    )
    assert f"| wo-ce | {np.mean(ours - full):+.4f} | [" in page


def test_seeds_are_counted_by_data_set_where_they_are_not_the_same(made: Asked) -> None:
    (made.results / "ablation/shop/wo-ce-1.json").unlink()
    shutil.copytree(made.results / "ablation/shop", made.results / "ablation/mall")
    (made.results / "ablation/mall/full-1.json").unlink()
    ablation.run(replace(made, datasets=()))
    page = (made.results / "ablation.md").read_text()
    assert "| wo-ce | refine=0 | 1 |" in page
    assert "| full |  | 1 / 2 |" in page


def test_what_a_variant_differs_by_is_told_by_data_set_where_it_is_not_the_same(
    made: Asked,
) -> None:
    found = read_results(
        made, ablation.STUDY, lambda name, data: command.settings_of(name, made, data)
    )
    shop = found.groups["shop"]
    twice = replace(found, groups={"shop": shop, "mall": shop})
    assert pages.differs(twice, "wo-ce") == "refine=0"
    assert pages.differs(twice, "full") == ""
    other = copy.deepcopy(shop)
    other["wo-ce"].first.content["configuration"]["settings"] |= {"polish": 9}
    mixed = replace(found, groups={"shop": shop, "mall": shop, "yard": other})
    assert pages.differs(mixed, "wo-ce") == "shop, mall: refine=0; yard: refine=0, polish=9"
    same = copy.deepcopy(shop)
    full = same["full"].first.content["configuration"]
    same["wo-ce"].first.content["configuration"] = full
    mixed = replace(found, groups={"shop": shop, "yard": same})
    assert pages.differs(mixed, "wo-ce") == "shop: refine=0; yard: nothing"


def test_a_failed_training_leaves_the_others_and_is_told_in_the_end(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, trained: list[str]
) -> None:
    works = runner.train
    monkeypatch.setattr(
        runner, "train", lambda run: "it broke" if run.variant == "wo-ce" else works(run)
    )
    with pytest.raises(StudyError, match=r"2 trainings failed\. The first: it broke"):
        ablation.run(asked)
    assert "| full |" in (asked.results / "ablation.md").read_text()


def test_a_run_of_its_own_process_reports_its_failure(asked: Asked) -> None:
    (cell, *_) = command.plan(replace(asked, only=("full",)), ablation.STUDY)
    broken = replace(cell.run, settings={"width": "7"})
    assert "width 7 does not divide" in (runner.train(broken) or "")
    assert runner.train(cell.run) is None
    assert (cell.run.folder / "judged.json").exists()
    train(cell.run.dataset, cell.run.folder, resume=True)  # finished, and nothing to do


def test_an_offline_teacher_is_trained_first_and_its_time_counts(
    asked: Asked, trained: list[str]
) -> None:
    distillation.run(replace(asked, seeds=1, only=("sar-offline",)))
    assert trained == ["psad-g-0", "sar-online-0", "sar-offline-0"]
    found = json.loads((asked.results / "distillation/shop/sar-offline-0.json").read_text())
    teacher = next((asked.runs / "shop").glob("psad-0-*/metrics.json"))
    assert found["training"]["teacher_seconds"] > 0
    assert teacher.exists()
    assert set(found["rows"]) == {"scorer"}
    assert "| sar-offline |" in (asked.results / "distillation.md").read_text()


def test_screenings_read_validation_lists(asked: Asked, trained: list[str]) -> None:
    written = hyperparameters.run(replace(asked, seeds=1, only=("refine-0",)))
    text = written[0].read_text()
    assert "the valid lists, as a screening" in text
    found = json.loads((asked.results / "hyperparameters/shop/refine-0-0.json").read_text())
    assert f"{found['rows']['scorer']['valid']['ndcg@10']:.4f}" in text
    assert [path.suffix for path in written] == [".md", ".svg", ".png"]
    assert all(path.stat().st_size > 500 for path in written)


def test_interactions_are_shown_by_activity(asked: Asked, trained: list[str]) -> None:
    written = interaction.run(replace(asked, seeds=1, only=("interaction-none",)))
    text = written[0].read_text()
    assert "shop: NDCG@10 of the scoring network (PSAD-S) by activity" in text
    assert [path.suffix for path in written] == [".md", ".svg", ".png"]


def test_quality_is_a_page_a_dataset(
    asked: Asked, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.report.latency", lambda *_, **__: ())
    written = quality.run(replace(asked, seeds=1, only=("dnn",)))
    text = written[0].read_text()
    assert [path.name for path in written] == [
        "quality-shop.md", "quality-shop.svg", "quality-shop.png"
    ]  # fmt: skip
    for row in (
        "incoming",
        "psad-s",
        "psad-s/generator, beam 1",
        "psad-s/generator, beam 4",
        "dnn",
    ):
        assert f"| {row} |" in text
    shutil.rmtree(asked.runs)  # as in a clone, which has the results alone
    trained.clear()
    assert quality.run(replace(asked, seeds=1, only=("dnn",))) == written
    assert trained == ["full-0", "dnn-0"]
    with pytest.raises(StudyError, match="--data"):
        quality.run(replace(asked, datasets=()))


def test_a_value_beyond_the_usual_metrics_is_a_column_and_a_comparison(
    made: Asked, trained: list[str]
) -> None:
    for path in (made.results / "ablation/shop").glob("*.json"):
        content = json.loads(path.read_text())
        with np.load(path.with_suffix(".npz")) as file:
            arrays = dict(file)
        for mode, row in content["rows"].items():
            row["test"]["value"] = 0.7531
            arrays[f"{mode}/value"] = arrays[f"{mode}/ndcg@10"] * 2
        path.write_text(json.dumps(content))
        np.savez(path.with_suffix(".npz"), **arrays)
        assert Record(path, content, "test").extras == ["value"]
    text = ablation.run(replace(made, datasets=()))[0].read_text()
    assert "| shop value |" in text
    assert "0.7531 ± 0.0000" in text
    assert "### shop: value of the generator (PSAD-G) against full" in text


def test_the_quick_version_keeps_away_from_the_results(asked: Asked) -> None:
    cut = replace(asked, results=RESULTS, only=()).cut()
    assert cut.seeds == 1
    assert RESULTS not in cut.results.resolve().parents
    assert cut.variants(ablation.STUDY) == ("wo-sa", "wo-pg", "full")


def test_an_unknown_study_is_answered_with_the_nearest(asked: Asked) -> None:
    with pytest.raises(StudyError, match=r"no study 'ablations'. Did you mean 'ablation'\?"):
        command.reproduce("ablations")
    assert set(studies.names()) == {
        "ablation", "distillation", "efficiency", "hyperparameters", "interaction", "quality",
        "training",
    }  # fmt: skip


def test_a_study_without_results_asks_for_a_dataset(asked: Asked) -> None:
    with pytest.raises(StudyError, match="no results yet; name a dataset"):
        run_cells(replace(asked, datasets=()), ablation.STUDY)
    assert make_cells(replace(asked, datasets=()), ablation.STUDY) == []
