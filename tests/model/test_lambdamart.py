"""LambdaMART: its flat table cell by cell, learning, masks, and its file."""

from __future__ import annotations

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from data.dataset import Dataset
from model.baselines.lambdamart import Config, LambdaMARTError, Ranker
from model.evaluate import evaluate, evaluate_references, load_batch
from model.flat import columns, flatten
from model.ranker import Batch

SMALL = Config(trees=60, patience=20, min_rows=5, learning_rate=0.1, threads=1)


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> Ranker:
    ranker = Ranker(dataset.schema, SMALL)
    ranker.fit(dataset, Path())
    return ranker


def cells(dataset: Dataset, index: int, **limits: int) -> dict[str, list[float]]:
    made = columns(dataset.schema, limits.get("max_values", 200), limits.get("max_bag", 64))
    arrays, _ = dataset.batch([index])
    table = flatten(arrays, made).T.tolist()
    return {column.name: cell for column, cell in zip(made, table, strict=True)}


def test_the_table_holds_what_the_request_says(dataset: Dataset) -> None:
    index = int(dataset.splits["test"][3])
    found, request = cells(dataset, index), dataset.request(index)
    feature = {one.name: one for one in (*dataset.schema.user, *dataset.schema.item)}
    ids = [int(one) for one in request.candidates.ids]
    assert found["category"] == [feature["category"].index[f"c{one % 4}"] for one in ids]
    assert found["city"] == [feature["city"].index[request.user["city"]]] * len(ids)
    age = (request.user["age"] - feature["age"].mean) / feature["age"].scale
    assert found["age"] == pytest.approx([age] * len(ids), rel=1e-5)
    tags = [{f"t{(one * k) % 7}" for k in (1, 2, 3)} for one in ids]
    assert found["tags=t3"] == ["t3" in held for held in tags]
    assert found["tags (count)"] == [len(held) for held in tags]
    price = dataset.schema.context[0]
    expected = (np.array(request.candidates.columns["price"]) - price.mean) / price.scale
    assert found["price"] == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_missing_number_is_nan_and_not_the_mean(dataset: Dataset) -> None:
    first = np.flatnonzero([dataset.request(i).candidates.ids.count("0") for i in range(60)])[0]
    place = dataset.request(int(first)).candidates.ids.index("0")  # item 0 has no weight
    assert np.flatnonzero(np.isnan(cells(dataset, int(first))["weight"])).tolist() == [place]


def test_features_with_many_values_are_ids_and_stay_out(dataset: Dataset) -> None:
    index = int(dataset.splits["test"][0])
    assert "item_id" in cells(dataset, index)
    few = cells(dataset, index, max_values=10, max_bag=3)
    assert "item_id" not in few
    assert "category" in few
    assert [name for name in few if name.startswith("tags")][:1] == ["tags (count)"]
    assert "tags=t3" not in few


def test_rows_of_a_batch_are_its_lists_one_after_another(dataset: Dataset) -> None:
    made = columns(dataset.schema, 200, 64)
    indexes = dataset.splits["valid"][:5]
    together = flatten(dataset.batch(indexes)[0], made)
    alone = [flatten(dataset.batch([index])[0], made) for index in indexes]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_it_learns_more_than_the_click_rate_knows(dataset: Dataset, fitted: Ranker) -> None:
    learned = evaluate(fitted, dataset, "test").mean("ndcg@10")
    assert learned > evaluate_references(dataset, "test")["click_rate"].mean("ndcg@10") + 0.02
    assert next(iter(fitted.importance())).startswith("candidate.")
    assert fitted.size() > 50


def test_padding_never_changes_a_real_score(dataset: Dataset, fitted: Ranker) -> None:
    batch = load_batch(dataset, dataset.splits["test"][:6])
    before = fitted.scores(batch)
    wide = {
        name: torch.nn.functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, 3))
        if name.startswith("candidate")
        else tensor
        for name, tensor in batch.tensors.items()
    }
    after = fitted.scores(Batch(wide, torch.nn.functional.pad(batch.labels, (0, 3))))
    assert torch.equal(after[:, :-3], before)
    assert torch.isneginf(after[~wide["candidate_mask"]]).all()
    assert torch.isfinite(after[wide["candidate_mask"]]).all()


def test_the_same_seed_grows_the_same_trees_and_another_does_not(dataset: Dataset) -> None:
    texts = []
    for seed in (1, 1, 2):
        ranker = Ranker(dataset.schema, SMALL)
        ranker.fit(dataset, Path(), training=SimpleNamespace(seed=seed))
        texts.append(ranker._booster.model_to_string())
    assert texts[0] == texts[1] != texts[2]


def test_trees_survive_the_disk(dataset: Dataset, fitted: Ranker, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    again = Ranker(dataset.schema, SMALL)
    again.load(tmp_path)
    batch = load_batch(dataset, dataset.splits["test"])
    assert torch.equal(again.scores(batch), fitted.scores(batch))


def test_a_file_without_trees_or_of_another_schema_is_refused(
    dataset: Dataset, fitted: Ranker, tmp_path: Path
) -> None:
    with pytest.raises(LambdaMARTError, match=r"lambdamart\.txt cannot be read"):
        Ranker(dataset.schema, SMALL).load(tmp_path)
    (tmp_path / "lambdamart.txt").write_text("nothing")
    with pytest.raises(LambdaMARTError, match="cannot be read"):
        Ranker(dataset.schema, SMALL).load(tmp_path)
    fitted.save(tmp_path)
    other = dataset.schema.model_copy(update={"user": ()})
    with pytest.raises(LambdaMARTError, match="columns"):
        Ranker(other, SMALL).load(tmp_path)


def test_without_lightgbm_it_says_which_extra_to_install(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "lightgbm":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LambdaMARTError, match=r"pip install -e '\.\[baselines\]'"):
        Ranker(dataset.schema, SMALL).fit(dataset, Path())
