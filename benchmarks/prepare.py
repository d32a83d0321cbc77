"""How long `psad prepare` takes for a log of the user's own, and how much memory, by phase.

    python -m benchmarks.prepare --rows 10000000
    python -m benchmarks.prepare --rows 10000000 --csv

Draws a log of about N rows with `psad simulate` (ids are text), as Parquet or as CSV with times in
milliseconds, and prepares it in a process of its own. Peak is the largest resident set of the
phase, mapped files included, as Linux counts it. On a machine with other work compare the CPU
seconds, not the seconds. The log and the dataset lie in --folder, by default one that is removed.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS_A_LIST = 19
COLUMNS = "{:<22}{:>10}{:>10}{:>12}"


class Phases:
    """Seconds, CPU seconds and peak memory between one mark and the next."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}
        self._now = ""
        self._start = (0.0, 0.0)

    def mark(self, name: str) -> None:
        """A phase begins, and the one before ends."""
        moment = (time.perf_counter(), time.process_time())
        if self._now:
            sums = self.found.setdefault(self._now, [0.0, 0.0, 0.0])
            sums[0] += moment[0] - self._start[0]
            sums[1] += moment[1] - self._start[1]
            sums[2] = max(sums[2], _peak())
        _forget_peak()
        self._now, self._start = name, moment

    def marked(self, owner: Any, function: str, name: str) -> None:
        """Let a function's call begin a phase."""
        whole: Callable[..., Any] = getattr(owner, function)

        @functools.wraps(whole)
        def called(*given: Any, **named: Any) -> Any:
            if name != self._now:
                self.mark(name)
            return whole(*given, **named)

        setattr(owner, function, called)


def _peak() -> float:
    """GiB of the largest resident set since `_forget_peak`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def child(log: Path, dataset: Path) -> None:
    """Prepare, and print the phases as JSON."""
    from data import prepare, stream, write
    from data.sources import parquet

    phases = Phases()
    for owner, function, name in (
        (parquet, "open_files", "reading"),
        (parquet, "_looked_at", "counting"),
        (stream, "_sorted_by_range", "checking"),
        (stream, "_Store", "arranging"),
        (stream, "with_history", "histories and splits"),
        (write, "fit_schema", "vocabularies"),
        (write, "_catalogue", "statistics"),
        (write, "_write_lists", "writing"),
        (write, "_of_the_others", "statistics by fold"),
        (write, "_derive_lists", "derived features"),
        (write, "_scaled", "scaling"),
    ):
        phases.marked(owner, function, name)
    phases.mark("start")
    prepare.prepare(log, dataset, report=lambda _: None)
    phases.mark("end")
    print(json.dumps(phases.found))


def drawn(folder: Path, rows: int, csv: bool) -> Path:
    """The log, drawn unless it is there."""
    import polars as pl

    from data.simulator.tables import simulate

    log = folder / f"log-{rows}{'-csv' * csv}"
    if log.exists():
        return log
    simulate(log, lists=max(1, round(rows / ROWS_A_LIST)), report=lambda _: None)
    for path in log.glob("*.parquet") if csv else ():
        lazy = pl.scan_parquet(path)
        if path.stem == "impressions":
            lazy = lazy.with_columns(timestamp=pl.col("timestamp") * 1000)
        lazy.sink_csv(path.with_suffix(".csv"))
        path.unlink()
    return log


def measure(folder: Path, rows: int, csv: bool) -> None:
    """Draw, prepare, print a line a phase."""
    import polars as pl

    log = drawn(folder, rows, csv)
    files = log / f"impressions.{'csv' if csv else 'parquet'}"
    scanned = pl.scan_csv(files, infer_schema=False) if csv else pl.scan_parquet(files)
    count, size = scanned.select(pl.len()).collect().item(), files.stat().st_size
    print(f"{count:,} rows, {size / 1e6:,.0f} MB of {files.suffix[1:]}", flush=True)
    command = [
        sys.executable,
        "-m",
        "benchmarks.prepare",
        "--child",
        str(log),
        str(folder / "made"),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    print(COLUMNS.format("phase", "seconds", "CPU s", "peak GiB"))
    for name, (seconds, cpu, peak) in found.items():
        print(COLUMNS.format(name, f"{seconds:.1f}", f"{cpu:.1f}", f"{peak:.2f}"))
    seconds, cpu = (sum(one[place] for one in found.values()) for place in (0, 1))
    peak = max(one[2] for one in found.values())
    print(COLUMNS.format("all", f"{seconds:.1f}", f"{cpu:.1f}", f"{peak:.2f}"))
    whole = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"getrusage says {max(whole, peak):.2f} GiB for the process")


def main() -> None:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--csv", action="store_true", help="a CSV in place of Parquet")
    parser.add_argument("--folder", type=Path, help="keep log and dataset here")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(*asked.child)
        return
    with tempfile.TemporaryDirectory(prefix="psad-benchmark-") as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        measure(folder, asked.rows, asked.csv)


if __name__ == "__main__":
    main()
