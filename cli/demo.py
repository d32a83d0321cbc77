"""`make demo`: the whole way from a log to a reranked list, on real data, in one command.

    .venv/bin/python -m cli.demo [--once] [--fresh] [--port 8000]

Every step is a `psad` command that it prints and runs, so that a reader can repeat each alone. What
an earlier run left is reused; --fresh trains again; --once stops after the first answer.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli import demo_data, demo_service, demo_view
from data.dataset import Dataset
from features.bundle import Bundle
from features.errors import PsadError
from features.schema import FeatureSchema

DATASETS = Path("datasets")
REAL, GENERATED = DATASETS / "ml_100k", DATASETS / "generated"
RUN = Path("runs/demo")
BUNDLE = Path("bundles/psad/1")
USER_ERROR = 2  # exit code of a psad command that says itself what is wrong

NO_REAL_DATA = """
!!!  No real data could be had (the reasons stand above).
!!!  Going on with a small GENERATED log: what follows shows that the machinery works and says
!!!  nothing about quality. Mend the cause and run `make demo` again for real people and films.
"""


class DemoError(PsadError):
    """A step that could not be done; the text says what to do."""


def main() -> int:
    """Parse the flags, run the demo, give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m cli.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the first answer")
    parser.add_argument("--fresh", action="store_true", help="train again")
    parser.add_argument("--port", type=int, default=8000, help="where the service listens")
    given = parser.parse_args()
    try:
        run(once=given.once, fresh=given.fresh, port=given.port)
    except PsadError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("\nstopped")
    return 0


def run(*, once: bool, fresh: bool, port: int) -> None:
    """All steps; raises DemoError."""
    began = time.perf_counter()
    demo_service.check_port(port)
    dataset = prepared()
    exported(dataset, fresh=fresh)
    with step("Starting the service"):
        service = demo_service.start(BUNDLE, port, "--page")
    try:
        demo_view.show(dataset, RUN, BUNDLE, service.url)
        print(f"\nAll of it took {time.perf_counter() - began:.0f} s.", flush=True)
        if not once:
            print(
                f"Open {service.url} to see lists before and after ({service.url}/docs: the API)."
            )
            print("Ctrl-C stops the service.", flush=True)
            service.wait()
    finally:
        service.stop()


def prepared() -> Path:
    """The folder of a dataset: the one at hand, else real data, else the generated log."""
    if is_dataset(REAL):
        print(f"Dataset: {REAL} is there and is used again.")
        return REAL
    with step("Fetching ML-100K and making lists of it"):
        if psad("prepare", "ml_100k", str(REAL), refusal_is_answer=True):
            return REAL
    print(NO_REAL_DATA, file=sys.stderr, flush=True)
    if not is_dataset(GENERATED):
        with step("Generating a log and making lists of it"):
            folder = demo_data.write(DATASETS / "generated_log")
            psad("prepare", str(folder), str(GENERATED))
    return GENERATED


def exported(dataset: Path, *, fresh: bool) -> None:
    """See to it that BUNDLE is there and made for this dataset; trains where it must."""
    if fresh:
        shutil.rmtree(RUN, ignore_errors=True)
        shutil.rmtree(BUNDLE, ignore_errors=True)
    if BUNDLE.exists() and outgrown(dataset):
        print(f"Model: {BUNDLE} was made from the generated log; it is trained again on real data.")
        shutil.rmtree(BUNDLE)
    if BUNDLE.exists():
        check_bundle(dataset)
        print(f"Model: {BUNDLE} is there and is used again (FRESH=1 trains again).")
        return
    if not is_run(RUN, dataset):
        shutil.rmtree(RUN, ignore_errors=True)  # what an interrupted training left
        with step("Training"):
            psad("train", str(dataset), str(RUN), "--preset", "demo")
    with step("Exporting"):
        psad("export", str(RUN), str(BUNDLE))


def outgrown(dataset: Path) -> bool:
    """True where the bundle was made from the generated log and the dataset is real data."""
    try:
        bundle, wanted = Bundle.load(BUNDLE), FeatureSchema.load(dataset / "schema.json")
    except PsadError:
        return False
    return bundle.schema.name == demo_data.NAME != wanted.name


def check_bundle(dataset: Path) -> None:
    """Raise DemoError where the bundle is broken or belongs to other data; it may be the user's."""
    remedy = f"`make demo FRESH=1` replaces {BUNDLE} and {RUN}."
    try:
        bundle = Bundle.load(BUNDLE)
    except PsadError as error:
        raise DemoError(f"{error}\n{remedy}") from error
    if bundle.schema != FeatureSchema.load(dataset / "schema.json"):
        raise DemoError(f"{BUNDLE} was made from other data than {dataset}. {remedy}")


def is_dataset(folder: Path) -> bool:
    """True where `psad prepare` has finished there, with this version of the project."""
    try:
        Dataset.load(folder)
    except PsadError:
        return False
    return True


def is_run(folder: Path, dataset: Path) -> bool:
    """True where a training on this dataset has finished."""
    try:
        same = FeatureSchema.load(folder / "schema.json") == FeatureSchema.load(
            dataset / "schema.json"
        )
    except PsadError:
        return False
    return same and (folder / "metrics.json").is_file()


def psad(*words: str, refusal_is_answer: bool = False) -> bool:
    """Print and run a psad command; False where it refused and the caller can live with that."""
    print(f"$ psad {' '.join(words)}", flush=True)
    command = [sys.executable, "-m", "cli.main", *words]
    # One thread unless told otherwise: on matrices this small a second one gains nothing, and on a
    # machine that is busy with something else the two wait for each other at every step.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code == USER_ERROR and refusal_is_answer:
        return False
    if code in (-signal.SIGINT, 128 + signal.SIGINT):
        raise KeyboardInterrupt
    if code:
        raise DemoError(f"`psad {' '.join(words)}` failed (exit code {code}); see above.")
    return True


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say what happens now, and in the end how long it took."""
    print(f"\n=== {name}", flush=True)
    began = time.perf_counter()
    yield
    print(f"=== {name}: {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
