import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.dataset import Dataset, ragged
from data.prepare import prepare
from features.errors import DataError
from tests.data.conftest import log_tables, write_folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    return prepare(write_folder(folder / "own", log_tables()), folder / "d", report=lambda _: None)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6))))
def test_ragged_equals_a_loop(segments):
    starts = np.array([start for start, _ in segments], np.int64)
    lengths = np.array([length for _, length in segments], np.int64)
    places, offsets = ragged(starts, lengths)
    looped = [place for start, length in segments for place in range(start, start + length)]
    assert places.tolist() == looped
    assert offsets.tolist() == [0, *np.cumsum(lengths).tolist()]


def test_a_batch_holds_each_list_as_it_stands_alone(dataset):
    indexes = np.random.default_rng(0).permutation(len(dataset))[:17]
    together, labels = dataset.batch(indexes)
    assert set(together) == {spec.name for spec in dataset.schema.tensors()}
    for place, index in enumerate(indexes):
        alone, own_labels = dataset.batch([index])
        for name, array in alone.items():
            size = array.shape[1:]
            corner = together[name][(place, *(slice(length) for length in size))]
            np.testing.assert_array_equal(corner, array[0], err_msg=name)
        np.testing.assert_array_equal(labels[place, : own_labels.shape[1]], own_labels[0])


def test_the_columns_line_up_with_the_log(dataset):
    log = log_tables()["impressions"]
    for index in (0, 31, len(dataset) - 1):
        (list_id,), (user,) = dataset.list_ids([index]), dataset.user_ids([index])
        rows = log.filter(list_id=list_id).sort("position")
        request = dataset.request(index)
        assert rows["item_id"].cast(str).to_list() == list(request.candidates.ids)
        assert rows["price"].to_list() == request.candidates.columns["price"]
        assert rows["label"].to_list() == dataset.labels([index])[0].tolist()
        assert rows["user_id"][0] == int(user)
        assert rows["timestamp"][0] == dataset.timestamps([index])[0]
        earlier = log.filter(user_id=int(user), label=1).sort("timestamp", descending=True)
        earlier = earlier.filter(earlier["timestamp"] < rows["timestamp"][0])
        assert sorted(request.history.ids) == sorted(
            earlier["item_id"].cast(str).to_list()[:5]
        ) or (len(request.history.ids) == 5)
        assert set(request.history.ids) <= set(earlier["item_id"].cast(str))


def test_context_is_the_lists_own_wherever_a_block_of_it_ends(dataset, monkeypatch):
    whole = [dataset.request(index).candidates.columns for index in range(len(dataset))]
    monkeypatch.setattr("data.dataset.CONTEXT_ROWS", 7)  # lists have 5: most blocks cut one
    monkeypatch.setattr("data.dataset.CONTEXT_BLOCKS", 2)
    cut = Dataset.load(dataset.folder)
    for index in (*range(len(dataset)), 0):
        assert cut.request(index).candidates.columns == whole[index]


def test_the_lists_of_one_person_stand_together_in_time_order(dataset):
    assert dataset.users.tolist() == sorted(dataset.users)
    names = dataset.user_ids(range(len(dataset)))
    for user in np.unique(dataset.users):
        own = np.flatnonzero(dataset.users == user)
        assert len(set(names[own])) == 1
        assert (np.diff(dataset.timestamps(own)) > 0).all()


def test_lengths_and_an_empty_batch(dataset):
    assert dataset.lengths.tolist() == [5] * len(dataset)
    arrays, labels = dataset.batch([])
    assert labels.shape == (0, 0)
    assert arrays["candidate_mask"].shape == (0, 0)


def test_another_process_maps_the_same_files(dataset):
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy.labels([3]), dataset.labels([3]))


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match="psad prepare SOURCE"):
        Dataset.load(tmp_path / "nowhere")
    (tmp_path / "info.json").write_text("{}")
    with pytest.raises(DataError, match="prepare it again"):
        Dataset.load(tmp_path)


def test_a_dataset_with_another_schema_or_without_its_arrays_is_refused(tmp_path):
    folder = tmp_path / "d"
    prepare(write_folder(tmp_path / "own", log_tables()), folder, report=lambda _: None)
    info = json.loads((folder / "info.json").read_text())
    (folder / "info.json").write_text(json.dumps(info | {"fingerprint": "other"}))
    with pytest.raises(DataError, match="not the one"):
        Dataset.load(folder)
    (folder / "info.json").write_text(json.dumps(info))
    (folder / "arrays" / "label.npy").write_bytes(b"")
    with pytest.raises(DataError, match="damaged"):
        Dataset.load(folder)
    (folder / "arrays" / "label.npy").unlink()
    with pytest.raises(DataError, match=r"lacks .*label"):
        Dataset.load(folder)
