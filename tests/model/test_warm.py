"""Weights of one schema on another: by the names of values and features, never by their places."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from data.dataset import Dataset
from data.prepare import prepare
from features.schema import Feature, FeatureSchema
from model import registry
from model.axes import Axis, axes_of, place_names
from model.ranker import Batch
from model.warm import Places, Row, WarmStartError, compared, refuse_other_settings, warm_start
from tests.model.conftest import SCHEMA, SMALL, log_tables, write_log
from tests.model.test_every_model import GRADIENT

EXTREMES: dict[str, Any] = {"pairs": "kinds", "factors": 4, "context": "improved"}


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Longer lists, items 10 to 59, other categories in another order, `colour` for `weight`."""
    folder, tables = tmp_path_factory.mktemp("later"), log_tables(1)
    tables["impressions"]["item_id"] = tables["impressions"]["item_id"] + 10
    items = tables["items"]
    items["item_id"] = items["item_id"] + 10
    items["category"] = [f"c{max(3, one % 8)}" for one in range(50)]
    items["colour"] = ["red", "blue"] * 25
    schema = SCHEMA.replace('[item.weight]\nkind = "numeric"', '[item.colour]\nkind = "bag"')
    schema = schema.replace("max_history = 6", "max_history = 9\nlist_size = 12")
    log = write_log(folder / "log", schema, tables)
    return prepare(log, folder / "dataset", report=lambda text: None)


def made(name: str, schema: FeatureSchema, seed: int, **settings: Any) -> Any:
    """A small model, every weight drawn anew, so that none is zero."""
    found = registry.find(name)
    known = {key: value for key, value in SMALL.items() if key in found.Config.model_fields}
    ranker = found.Ranker(schema, found.Config.model_validate(known | settings))
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.4)
    return ranker.eval()


SETTINGS = [(name, {}) for name in GRADIENT] + [
    ("psad", EXTREMES), ("psad", {"position": "pair", "layers": 2}),
    ("prm", {"reads_history": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_every_weight_that_a_schema_sizes_has_names_for_all_of_it(
    name: str, settings: dict[str, Any], dataset: Dataset, plain: Dataset, later: Dataset
) -> None:
    models = [made(name, data.schema, 0, **settings) for data in (dataset, plain, later)]
    for ranker in models:
        weights = dict(ranker.named_parameters())
        for weight, axis in axes_of(ranker).items():
            assert len(set(axis.names)) == len(axis.names) == weights[weight].shape[axis.dim], (
                weight
            )
    first, *others = (dict(ranker.named_parameters()) for ranker in models)
    named = set().union(*(axes_of(ranker) for ranker in models))
    for other in others:
        differ = {
            one for one in first.keys() & other.keys() if first[one].shape != other[one].shape
        }
        assert differ <= named


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_the_same_values_in_another_order_score_the_same(
    name: str, settings: dict[str, Any], dataset: Dataset, tools: Any
) -> None:
    """Vocabularies turned round, features in another order, and 20 more of each value."""

    def turned(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        more = tuple(f"more {number}" for number in range(20))
        return tuple(
            one if one.kind == "numeric"
            else one.model_copy(update={"vocabulary": (*more, *one.vocabulary[::-1])})
            for one in features
        )  # fmt: skip

    schema = dataset.schema.model_copy(update={
        "item": turned(dataset.schema.item), "user": turned(dataset.schema.user),
        "max_candidates": dataset.schema.max_candidates + 5, "max_history": 11,
    })  # fmt: skip
    old, new = (
        made(name, one, seed, **settings) for seed, one in enumerate((dataset.schema, schema))
    )
    copied = warm_start(new, old)
    assert copied.numbers < copied.of == sum(one.numel() for one in new.parameters())
    batch = tools.batch(dataset)
    tensors = {key: value.clone() for key, value in batch.tensors.items()}
    for side in ("user", "history", "candidate"):
        for kind in ("categorical", "bag"):
            _renumber(tensors, f"{side}_{kind}", dataset.schema.of(side, kind), schema)  # type: ignore[arg-type]
    with torch.inference_mode():
        before = old.scores(batch)
        after = new.scores(Batch(tensors, batch.labels))
    real = batch.candidate_mask
    torch.testing.assert_close(after[real], before[real], atol=1e-5, rtol=1e-5)


def _renumber(
    tensors: dict[str, torch.Tensor], key: str, features: tuple[Feature, ...], schema: FeatureSchema
) -> None:
    """Indices of one vocabulary as indices of the same values in the other."""
    start = 0
    for old in features:
        (new,) = (one for one in (*schema.user, *schema.item) if one.name == old.name)
        places = torch.tensor([0, 1, *(new.index[value] for value in old.vocabulary)])
        width = old.max_length or 1
        part = tensors[key][..., start : start + width]
        tensors[key][..., start : start + width] = places[part]
        start += width


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_other_features_and_longer_lists_are_begun_from(
    name: str, settings: dict[str, Any], dataset: Dataset, later: Dataset, tools: Any
) -> None:
    old, new = made(name, dataset.schema, 0, **settings), made(name, later.schema, 1, **settings)
    warm_start(new, old)
    batch = tools.batch(later)
    with torch.inference_mode():
        before = new.scores(batch)
    # what the old model did not know has no say: other vectors of colours change nothing
    weights, axes = dict(new.named_parameters()), axes_of(new)
    with torch.no_grad():
        for weight, axis in axes.items():
            for place, one in enumerate(axis.names):
                if axis.dim == 0 and one[:2] == ("bag", "colour"):
                    weights[weight][place] += 1.0
    with torch.inference_mode():
        after = new.scores(batch)
    if settings.get("pairs") != "kinds":  # there kinds are normalised together
        torch.testing.assert_close(after, before)
    new.train()
    sum(new.loss(batch).values()).backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in new.parameters())


def test_rows_go_where_their_values_are_and_new_ones_begin_as_unknown(
    dataset: Dataset, later: Dataset
) -> None:
    old, new = made("dnn", dataset.schema, 0), made("dnn", later.schema, 1)
    untouched = made("dnn", later.schema, 1)
    warm_start(new, old)
    name = "inputs.embedding.items.vectors.weight"
    rows = [dict(zip(axes_of(one)[name].names, dict(one.named_parameters())[name], strict=True))
            for one in (old, new, untouched)]  # fmt: skip
    known = ("categorical", "item_id", "value", "30")
    assert torch.equal(rows[1][known], rows[0][known])
    fresh = ("categorical", "item_id", "value", "55")
    assert torch.equal(rows[1][fresh], rows[0]["categorical", "item_id", "unknown"])
    colour = ("bag", "colour", "value", "red")  # of a feature that nobody knew: as it was drawn
    assert torch.equal(rows[1][colour], rows[2][colour])


def test_a_place_beyond_what_was_trained_begins_as_the_last() -> None:
    found = Places(place_names(4))
    assert [found.of(("place", number)) for number in (0, 3, 4, 90)] == [0, 3, 3, 3]
    pairs = Places(tuple(("history", "candidate", i, j) for i in range(2) for j in range(3)))
    assert pairs.of(("history", "candidate", 7, 1)) == 1 * 3 + 1
    assert pairs.of(("candidate", "candidate", 0, 0)) is None
    offsets = Places(tuple(("within", offset) for offset in range(-2, 3)))
    assert [offsets.of(("within", number)) for number in (-9, -2, 0, 9)] == [0, 0, 2, 4]


def test_a_weight_of_another_size_is_refused_by_name() -> None:
    class Toy(torch.nn.Module):
        def __init__(self, rows: int, width: int, named: bool) -> None:
            super().__init__()
            self.table = torch.nn.Parameter(torch.zeros(rows, width))
            if named:
                self.axes = lambda: {"table": Axis(0, place_names(rows))}

    for one, other in ((Toy(3, 2, False), Toy(4, 2, False)), (Toy(3, 2, True), Toy(3, 5, True))):
        with pytest.raises(WarmStartError, match=r"table has the shape .* Train without --from"):
            warm_start(one, other)


def test_settings_that_weights_depend_on_must_be_the_runs() -> None:
    theirs, free = {"width": 64, "dropout": 0.2, "layers": 1}, frozenset({"dropout"})
    refuse_other_settings(theirs, theirs | {"dropout": 0.5}, free, "runs/old")
    with pytest.raises(WarmStartError) as refused:
        refuse_other_settings(theirs, {"width": 32, "dropout": 0.5, "layers": 2}, free, "runs/old")
    said = str(refused.value)
    assert said.startswith(
        "runs/old is built otherwise: width is 64 there and 32 here; layers is 1 there and 2 here."
    )
    assert "Leave these settings out" in said


OTHER: dict[str, Any] = {  # than the default, of what is free
    "dropout": 0.5, "unknown_rate": 0.25, "id_rate": 0.25, "gate_stop_gradient": False,
    "gate_bias": 0.0, "position_stop_gradient": False, "refine": 0, "exploration": 0.0,
    "step_loss": "binary", "step_loss_classes": "positive", "hinge": 1.0, "tail_weight": 0.0,
    "hinge_on": "probabilities", "mask_chosen": False, "beam": 1, "beam_score": "utility",
    "polish": 2, "evaluator_stop_gradient": False, "scorer_loss": "binary", "alpha": 1.0,
    "temperature": 2.0, "decay": "dcg", "target": "left", "distillation": "printed",
    "mutual": True, "distillation_warmup": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENT)
def test_settings_that_are_free_leave_the_weights_as_they_are(
    name: str, dataset: Dataset, tools: Any
) -> None:
    config = registry.find(name).Config
    changed = {key: OTHER[key] for key in config.free}
    assert all(value != config.model_fields[key].default for key, value in changed.items())
    one, two = made(name, dataset.schema, 0), made(name, dataset.schema, 0, **changed)
    batch = tools.batch(dataset)
    with torch.inference_mode():
        assert torch.equal(one.scores(batch), two.scores(batch))
    assert {k: v.shape for k, v in one.named_parameters()} == {
        k: v.shape for k, v in two.named_parameters()
    }


def test_features_are_compared_by_name_and_kind(dataset: Dataset, later: Dataset) -> None:
    rows = {row.feature: row for row in compared(dataset.schema, later.schema)}
    assert rows["item.item_id"] == Row("item.item_id", "categorical", "grown", 40, 10, 10)
    assert rows["item.category"] == Row("item.category", "categorical", "grown", 1, 4, 3)
    assert rows["item.weight"] == Row("item.weight", "numeric", "dropped", 0, 0, 1)
    assert rows["item.colour"] == Row("item.colour", "bag", "new", 0, 2, 0)
    assert rows["user.city"] == Row("user.city", "categorical", "copied", 2, 0, 0)
    assert rows["derived.weight_rank"].state == "dropped"
    assert rows["max_history"] == Row("max_history", "places", "grown", 6, 3, 0)
    back = {row.feature: row for row in compared(later.schema, dataset.schema)}
    assert back["max_history"] == Row("max_history", "places", "copied", 6, 0, 3)
