"""What is known of one HTTP request while it is worked on, and what metrics take from it after."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from service.engine import Int64, kendall_tau
from service.errors import Mode, Reason
from service.metrics import Metrics

_SCORES_COUNTED = 10  # of the items returned: enough for a distribution, cheap for long lists


def _there() -> bool:
    """Where the server does not tell."""
    return False


@dataclass(slots=True)
class Visit:
    """One request. Stages in seconds, filled in as they are passed."""

    request_id: str
    arrived: float  # perf_counter when the application was called
    begun: float  # perf_counter of its first byte
    lag: float = 0.0  # seconds by which the event loop was late then
    whole_by: float = math.inf  # perf_counter by which the request must have arrived whole
    left: Callable[[], bool] = _there  # whether nobody is left to answer; asked from any thread
    mode: Mode = "scorer"  # what a request gets that does not choose
    decoding: float = 0.0  # perf_counter when the first stage began
    stages: dict[str, float] = field(default_factory=dict)
    candidates: int | None = None  # None until decoded
    history: int = 0
    unknown_features: Mapping[str, int] = field(default_factory=dict)
    unknown_items: int | None = None  # None until encoded
    history_cut: int = 0
    order: Int64 | None = None  # (M,), where the model gave one
    scores: Sequence[float] = ()  # of the items returned
    late: bool = False
    version: str | None = None  # whose answer it is
    fallback: Reason | None = None
    store: Literal["hit", "miss", "timeout", "error"] | None = None  # None where it was not asked

    @property
    def since(self) -> float:
        """perf_counter seconds from which the caller waits."""
        return self.begun - self.lag

    def deadline(self, milliseconds: float) -> float:
        """perf_counter seconds by which the answer should leave."""
        return self.since + milliseconds / 1_000.0

    def timings_ms(self) -> dict[str, float]:
        """Stages so far and the total, as the response shows them."""
        stages = {**self.stages, "total": perf_counter() - self.arrived}
        return {stage: round(1_000.0 * seconds, 3) for stage, seconds in stages.items()}


def count(visit: Visit, metrics: Metrics) -> None:
    """Everything but status and duration; called by the boundary after the answer left."""
    for stage, seconds in visit.stages.items():
        metrics.stage.labels(stage, visit.mode).observe(seconds)
    if visit.candidates is None:
        return
    if visit.version is not None:
        metrics.version.labels(visit.version).inc()
    metrics.candidates.observe(visit.candidates)
    metrics.history.observe(visit.history)
    for name, times in visit.unknown_features.items():
        metrics.unknown_features.labels(name).inc(times)
    metrics.unknown_items.inc(visit.unknown_items or 0)
    metrics.history_cut.inc(visit.history_cut)
    metrics.late.inc(visit.late)
    if visit.store is not None:
        metrics.store_reads.labels(visit.store).inc()
    if visit.fallback:
        metrics.fell_back(visit.fallback)
    if visit.order is not None:
        metrics.tau.observe(kendall_tau(visit.order))
    for score in visit.scores[:_SCORES_COUNTED]:
        metrics.score.observe(score)
