"""The click law of the simulator (docs/simulator.md): constants, and what follows from them.

Fixed before any model was trained on its logs; a change of any constant is a new `version`.
C topics, S segments, J places of a list from the top down, B lists.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

QUADRATURE = 9  # Gauss-Hermite nodes; the error of the mean chance is below 1e-6


class Law(BaseModel):
    """Every constant of the click law."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = "1"
    topics: int = 12
    segments: int = 8
    base: float = -2.2  # logit of an ordinary item for an indifferent user, alone
    quality: float = 1.1  # logit per unit of an item's quality
    taste: float = 0.9  # standard deviation of a segment's taste for a topic
    drift: float = 5.0  # logit of a topic that is all a user clicked lately
    recency: float = 0.15  # weight of the newest click in that mean
    history: int = 50  # clicks that count
    mood: float = 0.5  # standard deviation of what nobody sees, a list and topic
    fatigue: float = 0.6  # what a similar item right above takes from the logit
    patience: float = 0.4  # fatigue is (1 + patience) to (1 − patience) times that, by user
    kinship: float = 0.4  # similarity of a topic and its neighbour; the same topic is 1
    complement: float = 0.3  # what a complementary item right above adds
    memory: float = 0.8  # what is left of both, a place further down
    glance: float = 0.1  # place j is looked at with probability 1 / (1 + glance · (j − 1))

    def similarity(self) -> Float32:
        """(C above, C below): 1 for the same topic, `kinship` for the other of a pair 2k, 2k+1."""
        topics = np.arange(self.topics)
        pairs = (topics[:, None] // 2 == topics // 2).astype(np.float32) * self.kinship
        np.fill_diagonal(pairs, 1.0)
        return pairs.astype(np.float32)

    def helps(self) -> Float32:
        """(C above, C below): 1 where a topic helps another; c helps c + 3 and c + 7 (mod C)."""
        ahead = (np.arange(self.topics) - np.arange(self.topics)[:, None]) % self.topics
        return np.isin(ahead, (3, 7)).astype(np.float32)

    def tastes(self) -> Float32:
        """(S, C) logits, drawn once for all seeds and rounded, so that they can be written down."""
        drawn = np.random.default_rng(20_260_101).normal(size=(self.segments, self.topics))
        return (self.taste * drawn.round(1)).astype(np.float32)

    def examination(self, places: int) -> Float32:
        """(J,) the chance that a place is looked at."""
        return (1.0 / (1.0 + self.glance * np.arange(places))).astype(np.float32)

    def fatigue_of(self, patience: Float32) -> Float32:
        """A user's own fatigue, from patience in 0..1."""
        swing = self.patience * (1.0 - 2.0 * patience)
        return (self.fatigue * (1.0 + swing)).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Constants and tables as plain JSON."""
        tables = {"similarity": self.similarity(), "helps": self.helps(), "tastes": self.tastes()}
        return {
            **self.model_dump(),
            **{k: v.astype(float).round(3).tolist() for k, v in tables.items()},
        }


LAW = Law()


class Above:
    """What the items above do to each topic's logit, place after place; any leading shape (…, C).

    E_{j+1} = memory · E_j − fatigue · similarity[topic_j] + complement · helps[topic_j]
    """

    def __init__(self, law: Law) -> None:
        self.memory = np.float32(law.memory)
        self._similar, self._helps = law.similarity(), np.float32(law.complement) * law.helps()

    def after(self, effect: Float32, topic: Int64, fatigue: Float32) -> Float32:
        """The effect (…, C) on the next place, below an item of `topic` (…)."""
        adds = self._helps[topic] - fatigue[..., None] * self._similar[topic]
        return np.asarray(self.memory * effect + adds, np.float32)


def context(law: Law, topics: Int64, fatigue: Float32) -> Float32:
    """What is added to each logit of lists in shown order (B, J) by the items above it."""
    above, found = Above(law), np.zeros(topics.shape, np.float32)
    effect, lists = np.zeros((len(topics), law.topics), np.float32), np.arange(len(topics))
    for place in range(topics.shape[1]):
        found[:, place] = effect[lists, topics[:, place]]
        effect = above.after(effect, topics[:, place], fatigue)
    return found


def interest_of(law: Law, history: Int64) -> Float32:
    """A user's drifted interest in every topic (B, C), logits.

    `history` (B, N) are the topics of earlier clicks, newest first, −1 after the last:
    drift · recency · Σ_k (1 − recency)^k [topic of click k]
    """
    weights = law.recency * (1.0 - law.recency) ** np.arange(law.history)
    lists, places = np.nonzero(history[:, : law.history] >= 0)
    cells = lists * law.topics + history[lists, places]
    summed = np.bincount(cells, weights[places], len(history) * law.topics)
    return (law.drift * summed).reshape(len(history), law.topics).astype(np.float32)


def attraction(logits: Float32, spread: float = 0.0) -> Float32:
    """The chance of a click on what is looked at; with `spread`, its mean over a hidden mood.

    E_z[σ(logit + spread · z)], z standard normal, by Gauss-Hermite quadrature.
    """
    if not spread:
        return _sigmoid(logits)
    nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    weights /= weights.sum()
    total = np.zeros_like(logits)
    for node, weight in zip(nodes, weights, strict=True):
        total += np.float32(weight) * _sigmoid(logits + np.float32(spread * node))
    return total


def _sigmoid(logits: Float32) -> Float32:
    result = np.exp(-logits)
    result += 1.0
    return np.reciprocal(result, out=result)
