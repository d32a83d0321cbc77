"""Runs the image by its own start command, in a real container: podman with runc.

As it is meant to run: root file system read-only, no capabilities, no new privileges, the bundle
mounted read-only. The host's network is used, on a port of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cli.demo_service import free_port
from deploy.check.build import BUNDLE_IMAGE, IMAGE, Store
from deploy.check.tools import Wrong, get, wait_for

FORBIDDEN_PACKAGES: Final = frozenset(
    ("torch", "onnx", "onnxscript", "polars", "pyarrow", "scipy", "lightgbm", "pip", "setuptools")
)
FORBIDDEN_PROGRAMS: Final = frozenset(
    (
        "gcc",
        "cc",
        "c++",
        "g++",
        "clang",
        "cc1",
        "cc1plus",
        "ld",
        "as",
        "make",
        "pip",
        "pip3",
        "curl",
    )
)
_NAME: Final = "psad-check"
_LIST: Final = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
)


def config(place: Store) -> dict[str, Any]:
    """The image's configuration: what starts, as whom, with which environment."""
    told: dict[str, Any] = json.loads(place.podman("image", "inspect", IMAGE))[0]
    return told


def check_config(told: dict[str, Any]) -> str:
    """Raises Wrong where the image would start as root, in a shell, or without a health check."""
    inner = told["Config"]
    words = [*inner["Entrypoint"], *inner.get("Cmd", [])]
    if words[0] in ("/bin/sh", "sh") or words != ["psad", "serve"]:
        raise Wrong(f"the image starts {words}")
    if inner["User"].split(":")[0] in ("", "0", "root"):
        raise Wrong(f"the image starts as {inner['User'] or 'root'}")
    health = told["Healthcheck"]["Test"]
    if health[0] != "CMD":
        raise Wrong(f"the health check needs a shell: {health}")
    variables = dict(word.split("=", 1) for word in inner["Env"])
    if any(variables.get(f"{name}_NUM_THREADS") != "1" for name in ("OMP", "OPENBLAS")):
        raise Wrong(f"threads are not pinned: {variables}")
    if (variables.get("RERANK_HOST"), variables.get("RERANK_PORT")) != ("0.0.0.0", "8000"):
        raise Wrong(f"it does not listen where EXPOSE says: {variables}")
    if inner.get("StopSignal") not in ("SIGTERM", "15"):
        raise Wrong(f"the stop signal is {inner.get('StopSignal')}")
    return f"{' '.join(words)} as {inner['User']}"


def check_contents(place: Store) -> tuple[int, list[tuple[int, str]]]:
    """Size in bytes, and the largest parts. Raises Wrong where it holds what it must not."""
    root = Path(place.podman("image", "mount", IMAGE).strip())
    try:
        if found := unwanted(root):
            raise Wrong(f"the image holds {', '.join(found[:10])}")
        files = _files(root)
        return sum(path.stat().st_size for path in files), _largest(files, root)
    finally:
        place.podman("image", "unmount", IMAGE)


def unwanted(root: Path) -> list[str]:
    """Files below `root` that a serving image must not hold."""
    return sorted(str(path.relative_to(root)) for path in _files(root) if _unwanted(path, root))


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def _unwanted(path: Path, root: Path) -> bool:
    within = path.relative_to(root)
    return (
        path.name in FORBIDDEN_PROGRAMS
        or bool(path.stat().st_mode & 0o6000)  # runs as somebody else
        or bool({"torch", "pip"} & set(within.parts[:-1]))
        or (within.parts[:2] == ("root", ".cache"))
        or (path.suffix == ".deb")
        or str(within) in ("etc/pip.conf", "run/secrets/ca")
    )


def _largest(files: list[Path], root: Path, count: int = 8) -> list[tuple[int, str]]:
    sizes: dict[str, int] = {}
    for path in files:
        parts = path.relative_to(root).parts[:-1]
        depth = parts.index("site-packages") + 2 if "site-packages" in parts else 3
        name = "/".join(parts[-1:] if not parts else parts[:depth])
        sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return sorted(((size, name) for name, size in sizes.items()), reverse=True)[:count]


class Container:
    """A container that runs the image's own command."""

    def __init__(self, place: Store, port: int) -> None:
        self._place, self.port = place, port
        self.url = f"http://127.0.0.1:{port}"

    def inside(self, *words: str) -> str:
        """What a command prints that is run in it, as its user."""
        return self._place.podman("exec", _NAME, *words)

    def healthy(self) -> bool:
        """Whether the image's own HEALTHCHECK says so."""
        try:
            self._place.podman("healthcheck", "run", _NAME)
        except Wrong:
            return False
        return True

    def log(self) -> str:
        """What it wrote."""
        return self._place.podman("logs", _NAME, errors=True)

    def stop(self) -> int:
        """Stop it as an engine does, by its stop signal; its exit status."""
        self._place.podman("stop", "--time", "30", _NAME, seconds=60)
        return int(self._place.podman("inspect", "--format", "{{.State.ExitCode}}", _NAME))


@contextmanager
def container(place: Store, mounted: Path, bundle: str) -> Iterator[Container]:
    """The image, running on the folder `mounted`; ready inside the block."""
    port = free_port()
    place.podman(
        "run", "--detach", "--name", _NAME, "--pull", "never", "--network", "host",
        "--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges",
        "--volume", f"{mounted}:/bundles:ro",
        "--env", f"RERANK_BUNDLE=/bundles/{bundle}", "--env", f"RERANK_PORT={port}",
        "--env", "RERANK_HOST=127.0.0.1", IMAGE,
    )  # fmt: skip
    one = Container(place, port)
    try:
        wait_for("answer of /readyz", lambda: get(f"{one.url}/readyz"), 120)
        yield one
    except Wrong as error:
        logs = one.log().strip()[-1_500:]
        raise Wrong(f"{error}\nIts log: {logs or 'empty'}") from None
    finally:
        place.podman("rm", "--force", "--time", "2", _NAME)


def check_inside(one: Container) -> dict[str, str]:
    """What is installed. Raises Wrong where a process is root's, or the root can be written."""
    packages: dict[str, str] = json.loads(one.inside("python", "-c", _LIST))
    if found := FORBIDDEN_PACKAGES & packages.keys():
        raise Wrong(f"installed in the image: {', '.join(sorted(found))}")
    status = one.inside("cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    if "0" in fields["Uid"].split() or int(fields["CapEff"], 16) or fields["NoNewPrivs"] != "1":
        raise Wrong(f"process 1 is more than it may be: {fields['Uid']}, {fields['CapEff']}")
    for folder in ("/", "/tmp", "/bundles", "/opt/psad"):
        if (
            one.inside("sh", "-c", f"touch {folder}/x 2>/dev/null || echo refused").strip()
            != "refused"
        ):
            raise Wrong(f"{folder} can be written")
    return packages


def copy_bundle(place: Store, target: Path) -> None:
    """What the init container does in a cluster: the bundle's image copies it into a volume."""
    target.chmod(0o777)  # an emptyDir is as open
    place.podman(
        "run", "--rm", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--volume", f"{target}:/bundles",
        BUNDLE_IMAGE,
    )  # fmt: skip
