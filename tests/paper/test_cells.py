"""Which runs a study asks for, and which of them are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.dataset import Dataset
from model import registry
from model.config import preset_values, resolve
from model.evaluate import load_batch
from paper.cells import Cell, configured, data_settings, plan, settings_of
from paper.reproduce import make_cells
from paper.studies import ablation, distillation, quality, training
from paper.study import CONFIGS, Asked, StudyError


def cells(asked: Asked, module: object = ablation, only: tuple[str, ...] = ()) -> dict[str, Cell]:
    """Planned cells by variant and seed."""
    study = module.STUDY  # type: ignore[attr-defined]
    found = plan(replace(asked, only=only or asked.only), study)
    return {f"{cell.variant}-{cell.run.seed}": cell for cell in found}


def test_only_restricts_to_some_variants_and_the_base(asked: Asked) -> None:
    assert list(cells(asked)) == ["wo-ce-0", "full-0", "wo-ce-1", "full-1"]
    with pytest.raises(StudyError, match=r"no variant 'wo-se'. Did you mean 'wo-"):
        cells(asked, only=("wo-se",))


def test_the_preset_for_lists_as_shown_is_part_of_what_the_simulator_is_trained_with() -> None:
    found = data_settings("full", "simulator")
    shown = preset_values("psad", "shown")
    assert {key: str(value).lower() for key, value in shown.items()} == {
        key: found[key] for key in shown
    }


def test_on_the_simulator_a_switch_still_switches_and_the_print_stays_the_print(
    asked: Asked,
) -> None:
    """The data set's settings leave no variant equal to another, and none without its point."""
    asked = replace(asked, quick=False)
    printed = configured("paper", asked, "simulator").settings
    assert printed == resolve(None, None, CONFIGS / "paper.toml", {}).settings
    without = configured("wo-pairs", asked, "simulator").settings
    assert (without.pairs, without.evaluator_layers) == ("none", 1)
    assert configured("full", asked, "simulator").settings.evaluator_layers == 0


@pytest.mark.parametrize("data", ["ml_100k", "simulator"])
@pytest.mark.parametrize("factor", training.FACTORS)
def test_no_two_values_of_a_factor_are_one_training(
    asked: Asked, dataset: Dataset, data: str, factor: str
) -> None:
    asked = replace(asked, quick=False)
    schema = dataset.schema.model_copy(update={"list_size": 8})
    batch = load_batch(dataset, dataset.splits["train"][:8])
    made = set()
    for name in training.FACTORS[factor]:
        settings = configured(name, asked, data).settings
        torch.manual_seed(0)
        ranker = registry.find("psad").Ranker(schema, settings)
        ranker.on_progress(0.1)
        loss = sum(ranker.loss(batch).values())
        loss.backward()
        gradients = [one.grad.norm() for one in ranker.parameters() if one.grad is not None]
        felt = [one.item() for one in (loss, *gradients) if one > 1e-4]  # what is less is rounding
        made.add(" ".join(f"{one:.3g}" for one in felt))
    assert len(made) == len(training.FACTORS[factor])


def test_equal_settings_of_two_studies_are_one_run(asked: Asked) -> None:
    table4 = cells(asked, only=("full", "wo-sa"))
    table5 = cells(asked, distillation, only=("sar-online", "nar-online"))
    assert table4["full-1"].run.folder == table5["sar-online-1"].run.folder
    assert table4["wo-sa-0"].run.folder == table5["nar-online-0"].run.folder
    assert table4["full-0"].path != table5["sar-online-0"].path
    folders = {cell.run.folder for cell in table4.values()}
    assert len(folders) == 4  # seeds and settings tell runs apart


def test_a_run_is_known_by_settings_data_and_seed_and_not_by_its_place(
    asked: Asked, plain: Dataset, tmp_path: Path
) -> None:
    here = cells(asked)["full-0"]
    there = cells(replace(asked, runs=tmp_path / "elsewhere", results=tmp_path))["full-0"]
    other = cells(replace(asked, datasets=(plain.folder,)))["full-0"]
    whole = cells(replace(asked, quick=False))["full-0"]
    assert there.run.fingerprint == here.run.fingerprint
    assert here.settings == other.settings != whole.settings
    assert len({here.run.fingerprint, other.run.fingerprint, whole.run.fingerprint}) == 3


def test_an_offline_student_is_given_its_teachers_run_of_the_same_seed(asked: Asked) -> None:
    found = cells(asked, distillation, only=("sar-offline", "ar-offline", "psad-g"))
    student, other = found["sar-offline-1"].run, found["ar-offline-1"].run
    assert student.teacher == replace(found["psad-g-1"].run)
    assert f"offline_from={found['psad-g-1'].run.folder}" in student.words
    assert student.fingerprint != other.fingerprint
    assert settings_of("sar-offline", asked, "shop") != settings_of("ar-offline", asked, "shop")


def test_the_command_is_one_that_trains_what_the_cell_is(asked: Asked) -> None:
    run = cells(asked)["wo-ce-1"].run
    *rest, option, file, seed, number = run.words
    assert (option, seed, number) == ("--config", "--seed", "1")
    overrides = dict(word.split("=", 1) for word in rest[2:])
    found = resolve(None, None, file, overrides)
    assert (found.settings.refine, found.settings.width) == (0, 8)
    assert run.command.startswith("psad train ")
    assert Path(file).resolve() == CONFIGS / "wo-ce.toml"


def test_settings_that_a_model_lacks_are_not_asked_of_it(asked: Asked) -> None:
    found = cells(asked, quality, only=("lambdamart", "dnn"))
    assert found["lambdamart-0"].run.settings["trees"] == "3"
    assert "trees" not in found["dnn-0"].run.settings


def test_a_data_sets_settings_fill_what_a_variant_leaves_open() -> None:
    full = data_settings("full", "simulator")
    assert (full["context"], full["order_blind"], full["epochs"]) == ("improved", "true", "4")
    assert "context" not in data_settings("context-exposure", "simulator")
    assert "context" in data_settings("greedy", "simulator")
    assert "embedding_width" not in data_settings("paper", "simulator")  # its preset's own
    assert "polish" not in data_settings("prm", "simulator")
    assert data_settings("lambdamart", "simulator") == {}
    assert data_settings("full", "shop") == {}


@pytest.mark.parametrize("file", sorted((CONFIGS / "data").glob("*.toml")))
@pytest.mark.parametrize("variant", sorted(path.stem for path in CONFIGS.glob("*.toml")))
def test_every_variant_can_be_trained_on_every_data_set(file: Path, variant: str) -> None:
    before = data_settings(variant, file.stem)
    found = resolve(None, None, CONFIGS / f"{variant}.toml", before)
    values = found.settings.model_dump() | found.training.model_dump()
    alone = resolve(None, None, CONFIGS / f"{variant}.toml", {})
    others = alone.settings.model_dump() | alone.training.model_dump()
    assert {key for key in values if values[key] != others[key]} <= before.keys()


def test_a_command_says_the_data_sets_settings(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"full": {"dropout": "0.3"}, "wo-ce": {"dropout": "0.3"}}
    monkeypatch.setattr("paper.cells.data_settings", lambda variant, data: told[variant])
    before, now = cells(replace(asked, quick=False))["full-0"], cells(asked)["full-0"]
    assert "dropout=0.3" in before.run.words
    assert {"dropout=0.3", "width=8"} <= set(now.run.words)


def test_two_datasets_of_one_name_are_refused(asked: Asked) -> None:
    with pytest.raises(StudyError, match="one name"):
        make_cells(replace(asked, datasets=asked.datasets * 2), ablation.STUDY)
