"""An open loop: requests arrive at a constant rate, whether or not the service keeps up.

    python -m loadtest.open_loop --url http://127.0.0.1:8000 --dataset datasets/mine \\
        --rates 50,100,200,400 --seconds 20

For each rate: latency percentiles counted from the moment each request should have left, the rate
that was achieved, what was answered by a fallback and why, what failed, and the generator's own
lag. JSON and a picture go to build/open_loop/. README.md here says how to read them.
"""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from features.errors import PsadError
from loadtest.errors import LoadError

if TYPE_CHECKING:
    from loadtest.crew import Crew
    from loadtest.tally import Limits

PAUSE: Final = 1.0  # seconds between two steps, for what the one before left behind
GIVE_UP: Final = 0.5  # share of failures after which more rates tell nothing more
USER_ERROR, UNTRUSTED = 2, 3  # exit codes

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # examples stay in one piece, to be copied
)


class Arrivals(StrEnum):
    """How requests are spaced."""

    constant = "constant"
    poisson = "poisson"


class Mode(StrEnum):
    """Which of the bundle's ways to rank is asked for."""

    scorer = "scorer"
    generator = "generator"


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    rates: tuple[float, ...]
    seconds: float = 10.0
    warm_up: float = 2.0
    arrivals: Literal["constant", "poisson"] = "constant"
    seed: int = 0


def measure(crew: Crew, plan: Plan, limits: Limits, console: Console) -> list[dict[str, Any]]:
    """Run the steps in turn; Ctrl-C keeps those that are done."""
    from loadtest.generator import Step, arrivals
    from loadtest.tally import result

    steps: list[dict[str, Any]] = []
    with _progress(console) as bar:
        try:
            for number, rate in enumerate(plan.rates):
                poisson, whole = plan.arrivals == "poisson", plan.warm_up + plan.seconds
                offsets = arrivals(rate, whole, poisson=poisson, seed=plan.seed + number)
                step = Step(0.0, offsets, plan.warm_up, plan.seconds)
                task = bar.add_task(f"{rate:g} requests a second", total=len(offsets))
                time.sleep(PAUSE if number else 0.0)
                tally = crew.run(step, partial(_reached, bar, task))
                steps.append(result(rate, plan.seconds, tally, limits))
                if tally.kinds["failed"] > GIVE_UP * max(1, len(tally.latency)):
                    console.print(
                        f"{rate:g}/s: most requests failed; the rates after it are left out"
                    )
                    break
        except KeyboardInterrupt:
            console.print(f"stopped: {len(steps)} of {len(plan.rates)} rates are done")
    return steps


def _reached(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>30}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("answered,"), TimeRemainingColumn(), TextColumn("left"), console=console,
    )  # fmt: skip


def parse_rates(text: str) -> tuple[float, ...]:
    """`"50,100"` as numbers above 0; raises LoadError."""
    try:
        rates = tuple(float(word) for word in text.split(","))
    except ValueError:
        rates = ()
    if not rates or not all(0.0 < rate <= 1e6 for rate in rates):
        raise LoadError(f"--rates {text}: give requests a second, above 0, as in 50,100,200")
    return rates


@app.command()
def main(
    dataset: Annotated[Path, typer.Option(metavar="DATASET", help="What `psad prepare` wrote.")],
    url: Annotated[str, typer.Option(help="The service.")] = "http://127.0.0.1:8000",
    rates: Annotated[
        str, typer.Option("--rates", "--rate", help="Requests a second; several are run in turn.")
    ] = "50",
    seconds: Annotated[float, typer.Option(min=0.1, help="Counted seconds of each rate.")] = 10.0,
    warm_up: Annotated[
        float, typer.Option(min=0.0, help="Seconds at each rate before those.")
    ] = 2.0,
    arrivals: Annotated[
        Arrivals, typer.Option(help="Evenly spaced, or as independent callers come.")
    ] = Arrivals.constant,
    shapes: Annotated[
        str, typer.Option(help="ids, rows, columns, each with its share.")
    ] = "ids=1,rows=1,columns=1",
    mode: Annotated[Mode, typer.Option(help="Which way to rank is asked for.")] = Mode.scorer,
    deadline_ms: Annotated[
        float | None, typer.Option(help="Deadline of each request.", show_default="the service's")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="RERANK_API_KEY", help="Bearer key of the service.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.01, help="Seconds until a request is given up.")
    ] = 2.0,
    processes: Annotated[int, typer.Option(min=1, help="Generator processes.")] = 1,
    pool: Annotated[int, typer.Option(min=1, help="Different requests, sent in turn.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Seed of the draw and of Poisson arrivals.")] = 0,
    p99_ms: Annotated[float, typer.Option(help="A rate is held up to this p99.")] = 50.0,
    bad_share: Annotated[
        float, typer.Option(help="… and this share of fallbacks and failures.")
    ] = 0.01,
    lag_ms: Annotated[
        float, typer.Option(help="Largest p99 of the generator's lag that is trusted.")
    ] = 1.0,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the report goes.")] = Path(
        "build/open_loop"
    ),
) -> None:
    """Load a running service at a constant rate and report what callers would have seen.

    Writes report.json, report.svg and report.png. Exit code 3 means that the generator was too
    slow at some rate for its figures to be trusted; 2, that nothing could be measured.

    \b
    Examples:
      python -m loadtest.open_loop --dataset datasets/mine --rate 100 --seconds 30
      python -m loadtest.open_loop --dataset datasets/mine --rates 50,100,200,400 --arrivals poisson
      python -m loadtest.open_loop --dataset datasets/mine --rates 1000,2000 --processes 4
      python -m loadtest.open_loop --dataset datasets/mine --shapes columns --mode generator
    """
    try:
        plan = Plan(parse_rates(rates), seconds, warm_up, arrivals.value, seed)
        asked = {"mode": mode.value} | ({} if deadline_ms is None else {"deadline_ms": deadline_ms})
        report = run(
            plan, dataset, url, shapes=shapes, asked=asked, api_key=api_key, timeout=timeout,
            processes=processes, pool=pool, limits=(lag_ms, p99_ms, bad_share), out=out,
        )  # fmt: skip
    except PsadError as error:
        typer.echo(f"open_loop: {error}", err=True)
        raise typer.Exit(USER_ERROR) from error
    except ModuleNotFoundError as error:
        typer.echo(f"open_loop: needs {error.name}: pip install -e '.[loadtest]'", err=True)
        raise typer.Exit(USER_ERROR) from error
    if any(step["distrust"] for step in report["steps"]):
        raise typer.Exit(UNTRUSTED)


def run(
    plan: Plan,
    dataset: Path,
    url: str,
    *,
    shapes: str,
    asked: dict[str, Any],
    api_key: str | None,
    timeout: float,
    processes: int,
    pool: int,
    limits: tuple[float, float, float],
    out: Path,
) -> dict[str, Any]:
    """Draw requests, run the plan, write and show the report; raises LoadError."""
    from data.dataset import Dataset
    from loadtest.crew import gathered
    from loadtest.generator import Target
    from loadtest.payloads import Requests, parse_shapes
    from loadtest.report import show, write_report
    from loadtest.tally import Limits, capacity, verdict

    console, kept = Console(), Limits(*limits)
    requests = Requests(Dataset.load(dataset), parse_shapes(shapes), seed=plan.seed, **asked)
    with console.status(f"drawing {pool} requests from {dataset}"):
        payloads = requests.pool(max(pool, processes))
    with gathered(Target(url, api_key, timeout), payloads, processes) as crew:
        steps = measure(crew, plan, kept, console)
    if not steps:
        raise LoadError("no rate was run to its end: there is nothing to report.")
    report = {
        "url": url, "model": crew.info.get("model"), "service": crew.info.get("limits"),
        "dataset": str(dataset), "shapes": shapes, **asked, "arrivals": plan.arrivals,
        "warm_up": plan.warm_up, "timeout": timeout, "processes": processes, "pool": len(payloads),
        "body_bytes": sum(len(one.body) for one in payloads) / len(payloads), "seed": plan.seed,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": platform.platform(),
        "limits": asdict(kept), "verdict": verdict(steps), "capacity": capacity(steps),
        "steps": steps,
    }  # fmt: skip
    paths = write_report(report, out)
    show(report, console)
    console.print(f"written: {', '.join(map(str, paths))}", soft_wrap=True, highlight=False)
    return report


if __name__ == "__main__":
    app()
