"""Which runs a study asks for, and which of them are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data.dataset import Dataset
from model.config import resolve
from paper.cells import Cell, plan, settings_of
from paper.reproduce import make_cells
from paper.studies import ablation, distillation, quality
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
    assert settings_of("sar-offline", asked) != settings_of("ar-offline", asked)


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


def test_two_datasets_of_one_name_are_refused(asked: Asked) -> None:
    with pytest.raises(StudyError, match="one name"):
        make_cells(replace(asked, datasets=asked.datasets * 2), ablation.STUDY)
