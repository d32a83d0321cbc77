import numpy as np
import pytest

from data.dataset import SPLITS, Dataset
from data.prepare import prepare
from data.tally import BUCKETS, tally, time_edges, wilson


@pytest.fixture
def dataset(own_folder, tmp_path) -> Dataset:
    return prepare(own_folder, tmp_path / "made", report=lambda _: None)


def lists_of(dataset: Dataset):
    """Each list as (split, time, catalogue rows, labels), by the dataset's public reading."""
    for name, indexes in dataset.splits.items():
        for one in indexes.tolist():
            rows = dataset.lists([one]).candidate_rows
            yield name, int(dataset.timestamps([one])[0]), rows, dataset.labels([one])[0]


def test_counts_by_position_item_and_time_are_those_of_the_lists(dataset):
    made, lists = tally(dataset), list(lists_of(dataset))
    for place in range(5):
        assert made.position_shown[place] == len(lists)
        assert made.position_clicks[place] == sum(labels[place] for *_, labels in lists)
    row = int(lists[0][2][0])
    for code, name in enumerate(SPLITS):
        shown = sum(int((rows == row).sum()) for split, _, rows, _ in lists if split == name)
        assert made.item_shown[code, row] == shown
    clicks = sum(float(labels[rows == row].sum()) for *_, rows, labels in lists)
    assert made.item_clicks[row] == clicks
    for bucket, (low, high) in enumerate(zip(made.edges, made.edges[1:], strict=False)):
        inside = [one for one in lists if low <= one[1] < high]
        assert made.showings[bucket] == 5 * len(inside)
        for code, name in enumerate(SPLITS):
            assert made.lists[code, bucket] == sum(split == name for split, *_ in inside)
    assert made.lists.sum() == len(lists)
    assert made.positives.tolist() == [0, 0, len(lists), 0, 0, 0]


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_nothing(dataset, chunk):
    whole, parts = vars(tally(dataset)), vars(tally(dataset, chunk))
    for name in whole.keys() - {"coverage"}:
        np.testing.assert_allclose(parts[name], whole[name], err_msg=name, rtol=1e-12)
    for one, other in zip(whole["coverage"], parts["coverage"], strict=True):
        np.testing.assert_allclose(one.known, other.known, rtol=1e-12)


def test_a_known_value_is_one_that_is_given_and_in_the_vocabulary(dataset):
    known = {one.feature.name: one.known for one in tally(dataset).coverage}
    lists = list(lists_of(dataset))
    users = {name: dataset.user_ids(indexes) for name, indexes in dataset.splits.items()}
    for code, name in enumerate(SPLITS):
        assert known["age"][code] == pytest.approx(np.mean(users[name] != "0"))  # 0 has no age
        rows = np.concatenate([rows for split, _, rows, _ in lists if split == name])
        described = np.array([dataset.catalogue.ids[row - 1] != "29" for row in rows])
        assert known["tags"][code] == pytest.approx(described.mean())  # 29 is in no row of items
        assert known["category"][code] == pytest.approx(described.mean())
        assert known["price"][code] == 1


def test_a_context_value_below_min_count_is_unknown(own_folder, tmp_path):
    text = (own_folder / "schema.toml").read_text()
    rare = text.replace('[context.badge]\nkind = "categorical"', "") + (
        '[context.badge]\nkind = "categorical"\nmin_count = 10000\n'
    )
    (own_folder / "schema.toml").write_text(rare)
    made = tally(prepare(own_folder, tmp_path / "made", report=lambda _: None))
    (badge,) = [one for one in made.coverage if one.feature.name == "badge"]
    assert badge.known.tolist() == [0, 0, 0]


def test_new_items_and_people_are_those_that_train_never_saw(own_folder, tmp_path):
    dataset = prepare(own_folder, tmp_path / "made", split="time", report=lambda _: None)
    made, lists = tally(dataset), list(lists_of(dataset))
    seen = {int(row) for split, _, rows, _ in lists if split == "train" for row in rows}
    people = set(dataset.user_ids(dataset.splits["train"]).tolist())
    for bucket, (low, high) in enumerate(zip(made.edges, made.edges[1:], strict=False)):
        rows = [int(row) for _, time, rows, _ in lists if low <= time < high for row in rows]
        inside = np.arange(len(dataset))
        times = dataset.timestamps(inside)
        ids = dataset.user_ids(inside[(times >= low) & (times < high)])
        if rows:
            new = np.mean([row not in seen for row in rows])
            assert made.new_items[bucket] == pytest.approx(new)
            strange = np.mean([one not in people for one in ids])
            assert made.new_users[bucket] == pytest.approx(strange)
        else:
            assert np.isnan(made.new_items[bucket])


@pytest.mark.parametrize("times", [[5], [0, 10**6], [1_700_000_000, 1_700_000_039], [-7, 2**40]])
def test_every_time_falls_into_one_of_few_even_buckets(times):
    edges = time_edges(np.array(times))
    assert len(edges) - 1 <= BUCKETS + 1
    assert edges[0] <= min(times)
    assert max(times) < edges[-1]
    assert len(set(np.diff(edges))) == 1


def test_the_interval_of_a_rate_is_wilsons():
    low, high = wilson(np.array([0, 5, 10]), np.array([10, 10, 10]))
    assert low[0] == 0
    assert high[2] == 1
    np.testing.assert_allclose([low[1], high[1]], [0.2366, 0.7634], atol=1e-4)
    np.testing.assert_allclose(high[0], 0.2775, atol=1e-4)
