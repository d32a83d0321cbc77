"""Every metric of the service, on the registry it is given. Base units, no user or item labels.

Label sets exist from the start, so that a rate over a reason that has not occurred is 0 and not
absent. Where several workers serve one port they write into the files of one folder
(service/counts.py), and whichever is scraped adds all of them up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from features.encode import OTHER
from service.counts import scrape
from service.errors import MODES, REASONS, Mode, Reason
from service.settings import METRICS_FOLDER

STAGES: Final = ("decode", "store", "queue", "encode", "score", "order")
STATUSES: Final = (200, 400, 401, 404, 405, 408, 413, 422, 429, 499, 500, 503, 504)
SHED: Final = ("inflight", "queue", "deadline", "left")
RELOADS: Final = ("success", "failure")
CUT: Final = ("large", "slow", "invalid", "stuck")
KEYS: Final = ("api", "admin")
STORE_READS: Final = ("hit", "miss", "timeout", "error")
EVENTS: Final = ("added", "known", "failed")
DROPPED: Final = ("queue", "disk", "unfit", "failed")
SHADOWED: Final = ("scored", "dropped", "failed")

_SECONDS: Final = (
    0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02,
    0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0,
)  # fmt: skip
_LENGTHS: Final = (0, 1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
_TAU: Final = tuple(step / 10 for step in range(-10, 11))
_SCORES: Final = tuple(step / 20 for step in range(21))


class Metrics:
    """All metrics. `objective` seconds is the latency objective: an edge of the histograms."""

    def __init__(self, registry: CollectorRegistry, objective: float = 0.05) -> None:
        self.registry = registry
        seconds = sorted({*_SECONDS, objective})
        counter, histogram, gauge = self._counter, self._histogram, self._gauge
        self.requests = counter("requests", "Answers of /rerank by HTTP status", "status")
        self.seconds = histogram("request_duration_seconds", "From arrival to answer", seconds,
                                 "mode")  # fmt: skip
        self.stage = histogram("stage_duration_seconds", "By stage", seconds, "stage", "mode")
        self.candidates = histogram("candidates", "Candidates a request", _LENGTHS)
        self.history = histogram("history_length", "History items a request", _LENGTHS)
        self.fallback = counter("fallback", "Answers without scores, by reason", "reason")
        self.shed = counter("shed", "Requests that were not given to the model", "reason")
        self.batch = histogram("batch_size", "Requests of one /rerank/batch", _LENGTHS)
        self.inflight = gauge("inflight_requests", "Requests being worked on", "livesum")
        self.model_info = gauge("model_info", "1 for the version served", "liveall",
                                "name", "version")  # fmt: skip
        self.loaded = gauge("model_load_timestamp_seconds", "When it was loaded", "livemax")
        self.created = gauge("model_created_timestamp_seconds", "When it was exported", "livemax")
        self.objective = gauge("latency_objective_seconds", "Deadline by default", "livemax")
        self.reload = counter("model_reload", "Loads of a bundle, by result", "result")
        self.nonfinite = counter("nonfinite_scores", "Scores that were not finite")
        self.unknown_items = counter("unknown_items", "Items that the catalogue does not hold")
        self.unknown_features = counter("unknown_features", "Features given in vain", "feature")
        self.history_cut = counter("history_cut", "History items beyond the trained length")
        self.late = counter("late", "Scores returned after their deadline")
        self.tau = histogram("order_kendall_tau", "Agreement with the incoming order", _TAU)
        self.score = histogram("score", "Scores of the items returned", _SCORES)
        self.version = counter("version_requests", "Answers of each version, fallbacks included",
                               "version")  # fmt: skip
        self.shadow_tau = histogram("shadow_kendall_tau", "Agreement with the shadow", _TAU)
        self.shadow_first = counter("shadow_same_first", "Lists that both begin alike")
        self.shadow_requests = counter("shadow_requests", "Requests for the shadow", "result")
        self.shadow_seconds = histogram("shadow_duration_seconds", "What it took", seconds)
        self.workers = gauge("workers", "Processes that serve", "livesum")
        self.deaths = worker_deaths(registry)
        self._served: tuple[str, str] | None = None  # name, version
        self.keys = gauge("keys", "Bearer keys that open, by whose they are", "livemin", "keys")
        self.keys_stale = gauge("keys_stale", "1 while a file of keys cannot be used", "livemax",
                                "keys")  # fmt: skip
        self.connections_cut = counter("connections_cut", "Connections ended over what came",
                                       "reason")  # fmt: skip
        self.log_lost = counter("log_lines_lost", "Log lines that could not be written")
        self.store_reads = counter("store_reads", "Users sought in the store, by result", "result")
        self.store_down = gauge("store_down", "1 while the store does not answer", "livemax")
        self.events = counter("events", "Events sent for histories, by result", "result")
        self.shown_written = counter("shown_written", "Shown lists that were written down")
        self.shown_dropped = counter("shown_dropped", "Shown lists that were not", "reason")
        self.shown_removed = counter("shown_removed_files", "Files that went to keep the bound")
        self.objective.set(objective)
        self.workers.set(1)
        self._preset()

    def _preset(self) -> None:
        for status in STATUSES:
            self.requests.labels(str(status))
        for mode in MODES:
            self.seconds.labels(mode)
            for stage in STAGES:
                self.stage.labels(stage, mode)
        for reason in REASONS:
            self.fallback.labels(reason)
        for cause in SHED:
            self.shed.labels(cause)
        for result in RELOADS:
            self.reload.labels(result)
        for result in STORE_READS:
            self.store_reads.labels(result)
        for result in EVENTS:
            self.events.labels(result)
        for why in DROPPED:
            self.shown_dropped.labels(why)
        for result in SHADOWED:
            self.shadow_requests.labels(result)
        for cut in CUT:
            self.connections_cut.labels(cut)
        for kind in KEYS:
            self.keys.labels(kind)
            self.keys_stale.labels(kind)
        self.unknown_features.labels(OTHER)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"rerank_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(f"rerank_{name}", text, labels, registry=self.registry,
                     multiprocess_mode=mode)  # type: ignore[arg-type]  # fmt: skip

    def _histogram(self, name: str, text: str, edges: Iterable[float], *labels: str) -> Histogram:
        return Histogram(
            f"rerank_{name}", text, labels, registry=self.registry, buckets=tuple(edges)
        )

    def answered(self, status: int, seconds: float, mode: Mode = "scorer") -> None:
        """One answer of /rerank; an unforeseen status is counted as 500."""
        self.requests.labels(str(status if status in STATUSES else 500)).inc()
        self.seconds.labels(mode).observe(seconds)

    def fell_back(self, reason: Reason) -> None:
        """One answer without scores."""
        self.fallback.labels(reason).inc()

    def serving(self, name: str, version: str, created: float, features: Iterable[str]) -> None:
        """A version, exported at `created`, took over; its schema's names become the only labels
        of unknown features."""
        if self._served is not None:  # labels cannot be taken back where workers share a folder
            self.model_info.labels(*self._served).set(0)
        self._served = name, version
        self.model_info.labels(name, version).set(1)
        self.version.labels(version)
        self.loaded.set(time.time())
        self.created.set(created)
        for feature in features:
            self.unknown_features.labels(feature)

    def render(self) -> bytes:
        """The text that Prometheus scrapes, of all workers together."""
        folder = os.environ.get(METRICS_FOLDER)
        return scrape(Path(folder)) if folder else generate_latest(self.registry)


def worker_deaths(registry: CollectorRegistry) -> Counter:
    """Counted by the supervisor, which has no other metric."""
    return Counter("rerank_worker_deaths", "Workers that had to be replaced", registry=registry)
