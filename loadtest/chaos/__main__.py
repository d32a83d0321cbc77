"""`make chaos`: everything that may happen to a service, done to a real one, and a table of it.

    python -m loadtest.chaos --bundle bundles/psad --dataset datasets/ml_100k
    python -m loadtest.chaos --only reload,kill --seconds 10

Nothing else should run on the machine. Writes build/chaos/chaos.json and chaos.md; a scene that was
judged there already, with the same settings and the same source code, is not run again. Exit code 1
where a promise was not kept, 3 where one could not be judged.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from features.bundle import resolve
from features.errors import PsadError
from loadtest.errors import LoadError

PARTS: Final = (
    "reload", "rollback", "replicas", "restart", "kill", "overload", "idle", "flips", "corpus",
    "soak",
)  # fmt: skip
POOL: Final = 2_000
SOURCES: Final = ("cli", "features", "loadtest", "service", "tests/chaos")  # what is seen is theirs
UNJUDGED: Final = 3  # exit code, as the open loop's

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def main(
    bundle: Annotated[Path, typer.Option(help="bundles/NAME.")] = Path("bundles/psad"),
    dataset: Annotated[Path, typer.Option(help="What it was trained on.")] = Path(
        "datasets/ml_100k"
    ),
    only: Annotated[str, typer.Option(help="Some scenes alone.")] = ",".join(PARTS),
    seconds: Annotated[float, typer.Option(min=10.0, help="Of load in each scene.")] = 60.0,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second.", show_default="half of what it holds")
    ] = None,
    requests: Annotated[int, typer.Option(min=1_000, help="Of the soak.")] = 1_000_000,
    out: Annotated[Path, typer.Option(help="Where the report and logs go.")] = Path("build/chaos"),
) -> None:
    """Prove on your machine, with your bundle, what docs/reliability.md says."""
    console = Console()
    try:
        chosen = _chosen(only)
        report = run(console, bundle, dataset, chosen, seconds, rate, requests, out)
    except PsadError as error:
        typer.echo(f"chaos: {error}", err=True)
        raise typer.Exit(2) from error
    console.print(_table(report["rows"]))
    console.print(f"written: {out / 'chaos.json'}, {out / 'chaos.md'}", highlight=False)
    judgements = [report["rows"][name]["kept"] for name in chosen]
    if False in judgements:
        raise typer.Exit(1)
    if None in judgements:
        raise typer.Exit(UNJUDGED)


def _chosen(only: str) -> list[str]:
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in PARTS:
            raise LoadError(f"--only {name}: scenes are {', '.join(PARTS)}")
    return names


def run(
    console: Console, bundle: Path, dataset: Path, chosen: list[str], seconds: float,
    rate: float | None, requests: int, out: Path,
) -> dict[str, Any]:  # fmt: skip
    """Run what is not in the report yet, writing it after each scene; raises LoadError."""
    from loadtest.chaos.scenes import SCENES, Scene, calm
    from loadtest.chaos.soak import soak
    from loadtest.tally import Limits

    out.mkdir(parents=True, exist_ok=True)
    source = resolve(bundle)
    settings = {"bundle": source.digest, "dataset": str(dataset), "seconds": seconds,
                "rate_asked": rate, "requests": requests, "sources": _sources()}  # fmt: skip
    report = _begun(out / "chaos.json", settings)
    scene = Scene(source, out, _payloads(console, dataset), seconds, rate or 0.0)
    if "calm" not in report:
        with console.status("calm: what one service holds, and half of that"):
            found, quiet = calm(scene, rate, Limits())
        report["calm"] = {"rate": found, "made": _time(), **quiet.found}
        _write(report, out)
    scene = replace(
        scene, rate=report["calm"]["rate"], calm_p99=report["calm"]["latency_ms"]["p99"]
    )
    console.print(f"calm: {scene.rate:.0f} requests a second, p99 {scene.calm_p99:.1f} ms"
                  f" ({report['calm']['made']})", highlight=False)  # fmt: skip
    for name in chosen:
        if (seen := report["rows"].get(name, {"kept": None}))["kept"] is not None:
            console.print(f"{name}: seen {seen['made']}, not run again", highlight=False)
            continue
        with console.status(name) as status:
            said = _said(status, requests)
            row = soak(scene, requests, said) if name == "soak" else SCENES[name](scene)
        report["rows"][name] = {**asdict(row), "made": _time()}
        _write(report, out)
        console.print(f"{_mark(row.kept)} {row.name}: {row.seen}", highlight=False)
    return report


def _said(status: Any, requests: int) -> Callable[[int], None]:
    return lambda done: status.update(f"soak: {done:,} of {requests:,} requests")


def _payloads(console: Console, dataset: Path) -> list[Any]:
    from data.dataset import Dataset
    from loadtest.payloads import Requests, parse_shapes

    with console.status(f"drawing requests from {dataset}"):
        requests = Requests(Dataset.load(dataset), parse_shapes("ids=1,rows=1,columns=1"))
        return requests.pool(POOL)


def _begun(file: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The report so far, where it is one of the same settings."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(report, dict) and report["settings"] == settings:
            return report
    except (OSError, ValueError, KeyError):
        pass
    return {
        "settings": settings, "machine": platform.platform(), "cores": os.cpu_count(),
        "rows": {},
    }  # fmt: skip


def _sources() -> str:
    """One hash of the code that is run, so that no result is shown as that of other code."""
    root, found = Path(__file__).parents[2], hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (root / name).rglob("*.py")):
        found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _time() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _write(report: dict[str, Any], out: Path) -> None:
    for name, text in (("chaos.json", json.dumps(report, indent=1)), ("chaos.md", _page(report))):
        part = out / f"{name}.part"
        part.write_text(text + "\n", encoding="utf-8")
        part.rename(out / name)


def _page(report: dict[str, Any]) -> str:
    lines = ["| what happens | promise | seen | kept |", "|---|---|---|---|"]
    for row in report["rows"].values():
        lines.append(f"| {row['name']} | {row['promise']} | {row['seen']} | {_mark(row['kept'])} |")
    made = sorted(row["made"] for row in report["rows"].values())
    lines += ["", f"Seen from {made[0]} to {made[-1]}."] if made else []
    return "\n".join(lines)


def _mark(kept: bool | None) -> str:
    return {True: "yes", False: "NO", None: "–"}[kept]


def _table(rows: dict[str, Any]) -> Table:
    table = Table("what happens", "promise", "seen", "kept")
    for row in rows.values():
        table.add_row(row["name"], row["promise"], row["seen"], _mark(row["kept"]))
    return table


if __name__ == "__main__":
    app()
