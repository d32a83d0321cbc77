"""Requests are valid, mean what the dataset holds, and follow people through their lists."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice

import numpy as np
import polars as pl
import pytest

from data.dataset import Dataset
from loadtest.errors import LoadError
from loadtest.payloads import Requests, Shape, parse_shapes
from service.decode import Decoder
from service.grammar import Limits
from service.schemas import RerankRequest


def requests(dataset: Dataset, shapes: str = "ids", **fields: object) -> Requests:
    return Requests(dataset, parse_shapes(shapes), **fields)  # type: ignore[arg-type]


def shape_of(body: dict[str, object]) -> Shape:
    candidates = body["candidates"]
    if isinstance(candidates, dict):
        return Shape.columns
    assert isinstance(candidates, list)
    return Shape.rows if isinstance(candidates[0], dict) else Shape.ids


@pytest.mark.parametrize("shape", Shape)
def test_every_request_is_one_the_service_takes(dataset: Dataset, shape: Shape) -> None:
    decoder = Decoder(dataset.schema, Limits(1000, 500))
    for payload in requests(dataset, shape, mode="scorer", deadline_ms=20.0).pool(100):
        asked = decoder.decode(payload.body)
        assert tuple(asked.ids) == payload.ids
        assert asked.top_k == len(payload.ids)
        assert (asked.mode, asked.deadline_ms) == ("scorer", 20.0)
        assert asked.unknown_features == {}
        body = json.loads(payload.body)
        RerankRequest.model_validate(body)
        assert shape_of(body) is shape


@pytest.mark.parametrize("shape", [Shape.rows, Shape.columns])
def test_a_request_with_features_encodes_to_the_datasets_own_arrays(
    dataset: Dataset, shape: Shape
) -> None:
    decoder, drawn = Decoder(dataset.schema, Limits(1000, 500)), requests(dataset, shape)
    journeys = [drawn.journey(person) for person in range(drawn.people)]
    payloads = [payload for journey in journeys for payload in journey]
    for index in (*dataset.splits["valid"].tolist(), *dataset.splits["test"].tolist()):
        expected, _ = dataset.batch([index])  # train's derived features are out of fold
        found, counts = dataset.encoder.encode_request(decoder.decode(payloads[index].body).raw)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-4, err_msg=name)
        assert not counts.unknown_features


def test_a_journey_holds_a_persons_lists_with_what_was_clicked_before(
    dataset: Dataset, log: dict[str, pl.DataFrame]
) -> None:
    """By hand: clicks of strictly earlier lists, newest list first, in shown order, at most 5."""
    drawn, expected = requests(dataset), []
    shown = log["impressions"].sort("timestamp", "position")
    for (user,), rows in shown.group_by("user_id", maintain_order=True):
        history: list[str] = []
        for (_,), one in rows.group_by("list_id", maintain_order=True):
            expected.append((str(user), history[:5], one["item_id"].cast(pl.String).to_list()))
            clicked = one.filter(pl.col("label") > 0)["item_id"].cast(pl.String).to_list()
            history = clicked + history
    found = []
    for person in range(drawn.people):
        for payload in drawn.journey(person):
            body = json.loads(payload.body)
            user = dataset.user_ids([len(found)])[0]
            found.append((user, body["history"], body["candidates"]))
    assert sorted(found) == sorted(expected)
    by_user = {user: [one for one in expected if one[0] == user] for user, _, _ in expected}
    for user, ordered in by_user.items():
        assert [one for one in found if one[0] == user] == ordered


def test_a_pool_keeps_each_persons_requests_in_their_order(dataset: Dataset) -> None:
    drawn = requests(dataset)
    place = {
        payload.body: (person, number)
        for person in range(drawn.people)
        for number, payload in enumerate(drawn.journey(person))
    }
    reached: dict[int, int] = {}
    for payload in drawn.pool(50):
        person, number = place[payload.body]
        last = reached.get(person, -1)
        assert number == last + 1 or number == 0
        reached[person] = number
    assert len(reached) > 5  # interleaved, not one after another


def test_everybody_travels_before_anybody_travels_again(dataset: Dataset) -> None:
    drawn = requests(dataset)
    first = [journey[0].body for journey in islice(drawn.journeys(), 2 * drawn.people)]
    assert set(Counter(first[: drawn.people]).values()) == {1}
    assert sorted(first[: drawn.people]) == sorted(first[drawn.people :])
    assert first[: drawn.people] != first[drawn.people :]


def test_shapes_come_in_the_shares_asked_for(dataset: Dataset) -> None:
    pool = requests(dataset, "ids=1,rows=3,columns=0").pool(800)
    counted = Counter(shape_of(json.loads(payload.body)) for payload in pool)
    assert counted[Shape.columns] == 0
    assert 150 < counted[Shape.ids] < 250  # 200 in the mean, deviation 12


def test_the_same_seed_draws_the_same_requests(dataset: Dataset) -> None:
    pools = [requests(dataset, "ids=1,rows=1", seed=seed).pool(40) for seed in (3, 3, 4)]
    assert pools[0] == pools[1] != pools[2]


def test_shares_are_read_as_parts_of_a_whole() -> None:
    assert parse_shapes("ids=2, rows=1,columns=1") == {"ids": 0.5, "rows": 0.25, "columns": 0.25}
    assert parse_shapes("columns") == {"columns": 1.0}


@pytest.mark.parametrize("text", ["", "id", "ids=x", "ids=-1", "ids=inf", "ids=1,ids=2", "ids=0"])
def test_a_share_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(LoadError, match="--shapes"):
        parse_shapes(text)
