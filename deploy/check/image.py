"""The part of the check that builds the image, runs it and lets Prometheus scrape it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError

from deploy.check import build, container, dashboards, pod, schemas, scrape
from deploy.check.tools import ROOT, Wrong, get, missing, run, wait_for

if TYPE_CHECKING:
    from deploy.check.__main__ import Report

TRAIN: Final = ("--preset", "robust", "epochs=1")
QUIET: Final = {"Model changed", "Alerts"}  # marks where something happened; here nothing does


def check(report: Report, bundle: Path | None, cache: Path, folder: Path) -> None:
    """Every check of the image, `folder` being a place to write."""
    if reason := missing():
        report.skip("the image", reason)
        return
    made = folder / "bundles" / "psad"
    if bundle is None and not report.step("a small bundle: prepare, train, export",
                                          lambda: make_bundle(folder)):  # fmt: skip
        return
    with build.store() as place:
        _check(report, place, (bundle or made).resolve(), cache, folder)


def _check(report: Report, place: build.Store, bundle: Path, cache: Path, folder: Path) -> None:
    built = (
        report.step(f"base image like {build.BASE}", lambda: build.make_base(place, cache))
        and report.step("Dockerfile, built by buildah", lambda: build.build(place))
        and report.step("how it starts", lambda: container.check_config(container.config(place)))
        and report.step("what it holds", lambda: contents(place))
    )
    if not built:
        return
    mounted = folder / "volume"
    mounted.mkdir()
    if report.step("deploy/bundle/Dockerfile; its own command fills a volume",
                   lambda: carry(place, bundle, mounted)):  # fmt: skip
        run_image(report, place, mounted)
        if reason := missing(("catatonit",)):
            report.skip("the pod of deploy/kubernetes", reason)
            return
        deployment = schemas.manifests()["Deployment"]
        report.step("the pod of deploy/kubernetes, by podman play kube",
                    lambda: pod.check(place, deployment, folder))  # fmt: skip


def run_image(report: Report, place: build.Store, mounted: Path) -> None:
    """Start it, use it, scrape it, stop it."""

    def start() -> str:
        with container.container(place, mounted, "psad") as one:
            report.step("inside: user, rights, packages", lambda: inside(one))
            report.step("golden requests over HTTP", lambda: golden(one.url, mounted / "psad"))
            report.step("its HEALTHCHECK", lambda: healthy(one))
            report.step("Prometheus scrapes it", lambda: scraped(one))
            report.step("SIGTERM", lambda: f"ended with {_clean(one.stop())}")
            report.step("its log", lambda: log(one))
        return "read-only, no capabilities, no new privileges: ready"

    report.step("podman runs it by its own command", start)


def make_bundle(folder: Path) -> str:
    """bundles/psad in `folder`, by the commands that README tells."""
    from cli import demo_data

    demo_data.write(folder / "my_logs")
    shutil.copy(ROOT / "deploy/check/schema.toml", folder / "my_logs" / "schema.toml")
    psad = (sys.executable, "-m", "cli.main")
    run(*psad, "prepare", folder / "my_logs", folder / "data", seconds=300)
    run(*psad, "train", folder / "data", folder / "run", *TRAIN, seconds=1_200)
    run(*psad, "export", folder / "run", folder / "bundles/psad/1", seconds=600)
    return "trained for one epoch"


def contents(place: build.Store) -> str:
    """No torch, compiler, pip, cache, or program that runs as somebody else; what is large."""
    size, largest = container.check_contents(place)
    parts = ", ".join(f"{name} {part / 1e6:.0f}" for part, name in largest)
    return f"no torch, no compiler, no pip, nothing setuid; {size / 1e6:.0f} MB: {parts}"


def carry(place: build.Store, bundle: Path, mounted: Path) -> str:
    """As in a cluster: an image carries the bundle, and its own command copies it."""
    build.build_bundle(place, bundle.parent, bundle.name)
    container.copy_bundle(place, mounted)
    if not (mounted / "psad" / "CURRENT").is_file():
        raise Wrong(f"the volume holds {sorted(os.listdir(mounted))}")
    return "copied as user 10001"


def inside(one: container.Container) -> str:
    """Who runs, and what is installed."""
    packages = container.check_inside(one)
    said = one.inside("cat", "/proc/1/status")
    memory = next(int(x.split()[1]) for x in said.splitlines() if x.startswith("VmRSS"))
    runtime = packages["onnxruntime"]
    return f"{len(packages)} packages, onnxruntime {runtime}; {memory / 1024:.0f} MiB resident"


def golden(url: str, bundle: Path) -> str:
    """The bundle's golden requests, answered in the order that the model gave at export."""
    version = json.loads((bundle / "CURRENT").read_text())["version"]
    entries = json.loads((bundle / version / "golden.json").read_text())["requests"]
    for entry in entries:
        answer = json.loads(get(f"{url}/rerank", {**entry["request"], "deadline_ms": 5_000}))
        places = [result["index"] for result in answer["results"]]
        if answer["fallback"] or places != entry["order"][: len(places)]:
            raise Wrong(
                f"expected the order {entry['order']}, answered: {json.dumps(answer)[:300]}"
            )
    return f"{len(entries)} answered in the order of the export"


def healthy(one: container.Container) -> str:
    """The image's own health check, run by podman."""
    wait_for("healthy container", one.healthy, 60)
    return "healthy"


def log(one: container.Container) -> str:
    """Nothing but events, a line of JSON each; of libraries too nothing else."""
    lines = one.log().splitlines()
    try:
        events = [json.loads(line)["event"] for line in lines]
    except ValueError:
        raise Wrong("not JSON:\n" + "\n".join(x for x in lines if x[:1] != "{")) from None
    if events[:2] != ["starting", "model_loaded"] or events[-1] != "stopped":
        raise Wrong(f"events: {', '.join(events)}")
    return f"{len(lines)} lines of JSON: {', '.join(events)}"


def scraped(one: container.Container) -> str:
    """Prometheus as configured: every metric named is there, every rule and expression works."""
    with scrape.prometheus(f"127.0.0.1:{one.port}") as watcher:
        scrape.wait_until_up(watcher)
        traffic(one.url)
        scrape.wait_for_more(watcher)
        count, rules = scrape.check_metrics(watcher), scrape.check_rules(watcher)
        texts = dashboards.expressions(dashboards.read())
        answered: dict[str, list[Any]] = {name: watcher.query(text) for name, text in texts.items()}
    if empty := {name for name, result in answered.items() if not result} - QUIET:
        raise Wrong(f"nothing to show in {', '.join(sorted(empty))}")
    return f"{count} metrics named, all found; {rules} rules and {len(texts)} expressions evaluated"


def traffic(url: str) -> None:
    """Requests that move what moves only with some: a fault of the caller, unknown names."""
    wrong = {"candidates": "none"}
    known = {"candidates": [{"id": "a", "features": {"nobody_knows": 1}}, "b"], "history": ["c"]}
    for body in (known, known, wrong):
        try:
            get(f"{url}/rerank", body)
        except HTTPError as error:
            if error.code != 422:
                raise Wrong(f"{body} is answered by {error.code}") from None


def _clean(status: int) -> int:
    if status != 0:
        raise Wrong(f"the process ended with {status}")
    return status
