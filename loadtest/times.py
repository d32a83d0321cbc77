"""Times of many requests in an HdrHistogram: microseconds, three digits, whatever their number.

A percentile read from it is the highest time that shares its bucket, so at most 0.1% too large.
"""

from __future__ import annotations

from typing import Any, Final

from hdrh.histogram import HdrHistogram

MICRO: Final = 1e6
LONGEST: Final = 3_600_000_000  # microseconds; an hour
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
# of the curve: as many steps to halve what is left, up to one request in 100,000
CURVE: Final = tuple(100.0 * (1.0 - 2.0 ** (-step / 4)) for step in range(67))


class Times:
    """Mergeable, picklable."""

    def __init__(self, encoded: bytes | None = None) -> None:
        self._histogram = HdrHistogram(1, LONGEST, 3)
        if encoded is not None:
            self._histogram.decode_and_add(encoded)

    def __reduce__(self) -> tuple[Any, ...]:
        return Times, (self._histogram.encode(),)

    def __len__(self) -> int:
        return int(self._histogram.get_total_count())

    def record(self, seconds: float) -> None:
        """Add one; what is below a microsecond counts as one, what is above an hour as an hour."""
        self._histogram.record_value(min(max(round(seconds * MICRO), 1), LONGEST))

    def add(self, other: Times) -> None:
        """Add all of another's."""
        self._histogram.add(other._histogram)

    def percentile(self, percentile: float) -> float | None:
        """Milliseconds; None where nothing was recorded."""
        if not len(self):
            return None
        return float(self._histogram.get_value_at_percentile(percentile)) / 1e3

    def curve(self) -> list[tuple[float, float]]:
        """(percentile, milliseconds), no further than the number of requests can tell."""
        told = [one for one in CURVE if (1.0 - one / 100.0) * len(self) >= 1.0]
        found = self._histogram.get_percentile_to_value_dict(told) if told else {}
        return [(one, found[one] / 1e3) for one in told]

    def summary(self) -> dict[str, float | None]:
        """p50, p90, p99, p99.9, max and mean in milliseconds."""
        names = {f"p{one:g}": self.percentile(one) for one in PERCENTILES}
        mean = self._histogram.get_mean_value() / 1e3 if len(self) else None
        return {**names, "max": self.percentile(100.0), "mean": mean}
