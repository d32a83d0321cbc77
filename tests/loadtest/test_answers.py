"""An answer is held against its request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtest.answers import Payload, judge

PAYLOAD = Payload(b"{}", ("a", "b", "c"))


def answer(places: list[int], fallback: str | None = None, **changes: Any) -> dict[str, Any]:
    results = [
        {"id": "abc"[place], "index": place, "rank": rank, "score": 0.5}
        for rank, place in enumerate(places, 1)
    ]
    return {"results": results, "fallback": fallback, **changes}


def judged(status: int, content: Any) -> tuple[str, str]:
    return judge(status, json.dumps(content).encode(), PAYLOAD)


def test_every_order_of_the_candidates_is_scored() -> None:
    assert judged(200, answer([2, 0, 1])) == ("scored", "scored")
    assert judged(200, answer([0, 1, 2])) == ("scored", "scored")


def test_a_fallback_is_told_apart_by_its_reason() -> None:
    assert judged(200, answer([0, 1, 2], "deadline")) == ("fallback", "fallback deadline")
    assert judged(200, answer([0, 1, 2], "overload")) == ("fallback", "fallback overload")


def test_an_error_is_named_by_status_and_type() -> None:
    assert judged(429, {"error": {"type": "overload"}}) == ("failed", "429 overload")
    assert judged(500, "oops") == ("failed", "500")
    assert judge(502, b"<html>", PAYLOAD) == ("failed", "502")


RANKS = [{**one, "rank": 1} for one in answer([0, 1, 2])["results"]]
NAMES = [{**one, "id": "a"} for one in answer([0, 1, 2])["results"]]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([], "no results"),
        ({"results": []}, "no results"),
        (answer([0, 1]), "not as many results as candidates"),
        (answer([0, 1, 1]), "no permutation of the candidates"),
        (answer([0, 1, 2], results=RANKS), "an id or rank that is not the item's"),
        (answer([0, 1, 2], results=NAMES), "an id or rank that is not the item's"),
        (answer([0, 1, 2], results=[1, 2, 3]), "results of another form"),
        (answer([0, 1, 2], results=[{"index": None}, *RANKS[1:]]), "results of another form"),
        (answer([0, 1, 2], "tired"), "an unknown fallback"),
        (answer([1, 0, 2], "deadline"), "a fallback in another order"),
    ],
)
def test_a_wrong_answer_of_status_200_is_a_failure(content: Any, fault: str) -> None:
    assert judged(200, content) == ("failed", f"wrong answer: {fault}")


def test_an_answer_that_is_not_json_is_a_failure() -> None:
    assert judge(200, b"{", PAYLOAD) == ("failed", "wrong answer: no results")
