"""The command line `psad`: one verb a function, and every function thin.

    psad prepare ml_100k datasets/ml_100k
    psad train datasets/ml_100k runs/first
    psad evaluate runs/first
    psad export runs/first bundles/psad/1
    psad serve bundles/psad

What a verb does is imported when it runs, so that `psad serve` needs no torch and help is instant.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import Verbs
from cli.join import add_join
from cli.publish import add_publish
from cli.refresh import add_refresh
from cli.serve import add_serve
from cli.store import add_store
from features.runtime import refuse_telemetry

app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # examples stay in one piece, to be copied
)


class Split(StrEnum):
    """How lists are divided into train, valid and test."""

    last_list = "last-list"
    time = "time"
    user = "user"


class Part(StrEnum):
    """Which lists to judge on."""

    valid = "valid"
    test = "test"


class Mode(StrEnum):
    """By which of its two ways a model orders a list."""

    scorer = "scorer"
    generator = "generator"


@app.callback()
def psad(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Learn to put logged lists in a better order, and serve that order.

    \b
    The way from a log to a service, in five commands:
      psad prepare ml_100k datasets/ml_100k        a log becomes a dataset
      psad train datasets/ml_100k runs/first       a model learns from it
      psad evaluate runs/first                     how good is it?
      psad export runs/first bundles/psad/1        the model as a bundle
      psad serve bundles/psad                      POST /rerank

    `psad VERB --help` explains each and shows examples.
    """
    refuse_telemetry()  # before any verb imports ONNX Runtime


@app.command()
def prepare(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A data set's name, or a folder of your own.")
    ],
    dataset: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATASET",
            help="The folder to write; not needed with --check or --draft-schema.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        Split | None, typer.Option(help="How to divide the lists.", show_default="the source's own")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of shuffles, of the split by user and of the simulator.")
    ] = 0,
    lists: Annotated[
        int | None, typer.Option(help="How many lists to simulate.", show_default="20000")
    ] = None,
    draft_schema: Annotated[
        bool,
        typer.Option("--draft-schema", help="Write a first schema.toml into SOURCE, no dataset."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Read and check everything, say what would be done, write nothing."
        ),
    ] = False,
) -> None:
    """Make a dataset of a log.

    Builds lists, histories, splits, vocabularies and statistics.

    SOURCE is `ml_100k` or `ranklens`, which are fetched where they are not at hand ($PSAD_DATA and
    the cache are looked at first), `simulator`, which draws a log of --lists lists whose truth is
    known, or a folder of your own with schema.toml and impressions, items and users, each as
    NAME.parquet, NAME.csv, NAME.csv.gz, or a folder NAME/ of such files; impressions may be larger
    than the memory. What was left out, and why, is printed; summary.html in DATASET shows it.

    With --draft-schema the folder needs no schema.toml yet: a first one is written into it, of
    what the tables seem to hold, with the reason for each guess. Mend it, then prepare.

    \b
    Examples:
      psad prepare ml_100k datasets/ml_100k
      psad prepare my_logs --draft-schema
      psad prepare my_logs --check
      psad prepare my_logs datasets/mine --split time
      psad prepare simulator datasets/simulator --lists 20000 --seed 0
    """
    # so that a stop from outside removes scratch files too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = split.value if split else None
    if draft_schema:
        _nothing_to_write(dataset, "--draft-schema")
        from data.draft import draft_schema as draft

        draft(source)
        return
    if check:
        _nothing_to_write(dataset, "--check")
        from data.prepare import check as look

        look(source, split=chosen, seed=seed, lists=lists)
        return
    if dataset is None:
        raise typer.BadParameter("name the folder to write", param_hint="DATASET")
    from data.prepare import prepare as run

    run(source, dataset, split=chosen, seed=seed, lists=lists)


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="What `prepare` wrote.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder to write.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Settings in place of the preset's.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="psad, prm, dnn or lambdamart.", show_default="psad")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings by one name: robust, or of psad shown, paper (as printed) or demo.",
            show_default="robust",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TOML file of settings, such as those in paper/configs/.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything random.", show_default="0")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from RUN's last checkpoint.")
    ] = False,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="A finished run to begin from, of another dataset with the same kind of lists.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model on a dataset.

    RUN gets the configuration, the weights, the metrics, a log of every epoch and the learning
    curves as a picture. The validation lists decide when to stop, after 15 epochs at most where
    `epochs=5` does not say otherwise, and it ends with a table of the model beside the reference
    orders on them; the test lists wait for `psad evaluate`.

    With --from it begins with what another run learned, and with that run's settings: values and
    features that both know are copied by name, whatever else the new logs hold is learned.

    \b
    Examples:
      psad train datasets/ml_100k runs/first --model psad --preset robust
      psad train datasets/ml_100k runs/wide --preset robust learning_rate=0.001 --seed 1
      psad train datasets/ml_100k runs/wo-sa --config paper/configs/wo-sa.toml epochs=5
      psad train datasets/ml_100k runs/first --resume
      psad train datasets/this_week runs/this_week --from runs/last_week epochs=5
    """
    from model.train import train as go

    go(
        dataset,
        run,
        model=model,
        preset=preset,
        file=config,
        seed=seed,
        resume=resume,
        start=start,
        overrides=key_values(overrides or ()),
    )


@app.command()
def evaluate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="What `train` wrote.")],
    split: Annotated[Part, typer.Option(help="Which lists to judge on.")] = Part.test,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Order by the scores, or by the generated list.",
            show_default="each way the model has",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The row that the others are compared with.",
            show_default="lambdamart, else click_rate",
        ),
    ] = None,
    latency: Annotated[bool, typer.Option("--latency", help="Measure latency too.")] = False,
    beam: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,4,8",
            help="Widths of a generator's beam search, a row for each.",
            show_default="the run's own",
        ),
    ] = None,
) -> None:
    """Judge runs beside the reference orders.

    Every difference from the base row comes with its interval and test. Runs of one model with
    different seeds become one row. All runs must be of the same dataset.

    \b
    Examples:
      psad evaluate runs/first
      psad evaluate runs/psad-0 runs/psad-1 runs/prm-0 runs/prm-1 --base prm
      psad evaluate runs/first --mode generator --beam 1,2,4,8 --latency
    """
    from model.report import evaluate_runs

    chosen = mode.value if mode else None
    evaluate_runs(
        runs, split.value, mode=chosen, base=base, with_latency=latency, beams=widths(beam)
    )


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="What `train` wrote.")],
    beside: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="A run to compare with.", show_default="the order as it came"
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE",
            help="RUN's bundle, whose graphs are timed.",
            show_default="the model in its own library",
        ),
    ] = None,
    split: Annotated[Part, typer.Option(help="Which lists to judge on.")] = Part.test,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Order by the scores, or by the generated list.",
            show_default="the scores where there are any",
        ),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Where RUN's dataset lies now, if it was moved.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page.", show_default="RUN/report.html")
    ] = None,
) -> None:
    """Say what a run would change, on one page for people.

    The page compares RUN's order of the test lists with the order as it came, or with another
    run's: is it better and for whom, what changes, lists before and after, what it costs online,
    and what a log cannot tell. It is one HTML file with its pictures inside.

    \b
    Examples:
      psad report runs/first
      psad report runs/first --beside runs/lambdamart --bundle bundles/psad
      psad report runs/first --mode generator --out generator.html
    """
    from report import report_run

    report_run(
        run, beside=beside, bundle=bundle, dataset=dataset, split=split.value,
        mode=mode.value if mode else None, file=out,
    )  # fmt: skip


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="What `train` wrote.")],
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="bundles/NAME/VERSION, to be written.")
    ],
    dataset: Annotated[
        Path | None, typer.Option(help="Where RUN's dataset lies now, if it was moved.")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many lists the generator searches.", show_default="as RUN has it"
        ),
    ] = None,
    publish: Annotated[
        bool, typer.Option(help="Put it in service, or leave that to `psad publish`.")
    ] = True,
) -> None:
    """Turn a run into a bundle to serve.

    BUNDLE becomes the current version of its NAME. It holds the scoring network and, where RUN has
    one, the generator with its whole search. The exported graphs are compared with the trained
    model on random and real lists; where they disagree nothing is published.

    \b
    Examples:
      psad export runs/first bundles/psad/1
      psad export runs/first bundles/psad/2 --beam 8 --no-publish
    """
    from export.bundle import export_run

    export_run(run, bundle, dataset=dataset, beam=beam, current=publish)


add_serve(app)
add_publish(app)
add_join(app)
add_refresh(app)
add_store(app)


@app.command()
def bench(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `export` wrote.")],
    run: Annotated[
        Path | None,
        typer.Option(help="The run it was exported from, to time PyTorch.", show_default=False),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where the figures go as JSON.",
            show_default="beside the version's folder: bundles/NAME/VERSION-bench.json",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Time to spend on each row.")] = 4.0,
) -> None:
    """Measure a bundle on this machine.

    The scorer alone in ONNX Runtime and PyTorch, beside the time that its products would take at
    the machine's own matrix rate; and requests to a service started for it, as ids, objects and
    columns, with the time by stage. 30 candidates and a history of 50, or of as many items as the
    bundle reads where that is fewer, drawn from the bundle's own: no dataset is needed, no torch.

    \b
    Examples:
      psad bench bundles/psad
      psad bench bundles/psad/2 --run runs/first --json figures.json
    """
    from cli.bench import bench as measure
    from cli.bench_view import show

    show(measure(bundle, run=run, file=json, seconds=seconds))


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write.")],
    lists: Annotated[int, typer.Option(help="How many lists.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    items: Annotated[int, typer.Option(help="How many items.")] = 500,
) -> None:
    """Write a simulated log in the format of your own.

    FOLDER gets impressions, items, users and schema.toml, as `psad prepare FOLDER DATASET` reads
    them, and law.json, the click law they were drawn by. With law.json beside the log, `psad
    evaluate` shows the true value of every order. The same seed draws the same lists whatever
    their number; memory does not grow with it.

    \b
    Examples:
      psad simulate my_logs --lists 20000 --seed 0
      psad simulate big_logs --lists 1000000 --items 5000
    """
    from data.simulator.tables import simulate as run

    run(folder, lists=lists, seed=seed, items=items)


@app.command()
def reproduce(
    what: Annotated[str, typer.Argument(metavar="STUDY", help="A file's name in paper/studies/.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DATASET", help="What `prepare` wrote; may be repeated.", show_default=False
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, a thread each.")] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="This variant and the base; may be repeated.", show_default=False
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    results: Annotated[
        Path | None, typer.Option(help="Where results go.", show_default="paper/results")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few epochs of a few variants, into build/quick/.")
    ] = False,
) -> None:
    """Make a study of the paper's again.

    STUDY is quality (Table 2), efficiency (Table 3), ablation (Table 4), distillation (Table 5),
    hyperparameters (Figure 3), interaction (Figure 4) or training (which training suits PSAD).
    Trains what is not trained yet, keeps every result as JSON, and writes tables and figures. What
    was interrupted goes on; without --data the tables are made anew of the results that are there.

    \b
    Examples:
      psad reproduce ablation --data datasets/ml_100k --data datasets/ranklens --seeds 5 --jobs 2
      psad reproduce training --data datasets/ml_100k
      psad reproduce training --data datasets/ml_100k --seeds 5 --only context-exposure
      psad reproduce ablation
    """
    from paper.reproduce import RESULTS
    from paper.reproduce import reproduce as go

    go(
        what, data or (), seeds=seeds, jobs=jobs, runs=runs, results=results or RESULTS,
        only=only or (), quick=quick,
    )  # fmt: skip


def _nothing_to_write(dataset: Path | None, flag: str) -> None:
    if dataset is not None:
        raise typer.BadParameter(f"{flag} writes no dataset; leave it out", param_hint="DATASET")


def widths(text: str | None) -> tuple[int, ...]:
    """`"1,2,4"` as numbers; refuses anything but different whole numbers of at least 1."""
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise typer.BadParameter(f"--beam {text}: give whole numbers of at least 1, as in 1,2,4,8")
    found = tuple(int(word) for word in words)
    if len(set(found)) < len(found):
        raise typer.BadParameter(f"--beam {text}: a width is given twice")
    return found


def key_values(overrides: Sequence[str]) -> dict[str, str]:
    """`["a=1", "b=x=y"]` as a dictionary; refuses a word without `=` and a key given twice."""
    pairs: dict[str, str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE, such as learning_rate=0.001")
        if key in pairs:
            raise typer.BadParameter(f"{key!r} is given twice")
        pairs[key] = value
    return pairs


def main() -> None:
    """The entry point of the `psad` script."""
    app(prog_name="psad")


if __name__ == "__main__":
    main()
