"""Builds the Dockerfile without Docker: buildah, on a base image made here by debootstrap.

The base stands in for docker.io/library/debian:bookworm-slim: Debian's minimal system less what
that image leaves out (manuals, translations, package lists). It is made once and kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.check.tools import ROOT, run

BASE: Final = "docker.io/library/debian:bookworm-slim"
IMAGE: Final = "localhost/psad:check"
BUNDLE_IMAGE: Final = "localhost/psad-bundle:check"
SUITE: Final = "bookworm"
_LEFT_OUT: Final = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale",
    "var/cache/apt", "var/lib/apt/lists", "var/log",
)  # fmt: skip
# podman without systemd; limits below any hard limit, as raising one needs a right that a build
# machine may lack
_CONTAINERS: Final = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


class Store:
    """A place of its own for images and containers, so that no other's are touched."""

    def __init__(self, folder: Path) -> None:
        self.flags = ("--root", str(folder / "images"), "--runroot", str(folder / "run"))
        self._settings = folder / "containers.conf"
        self._settings.write_text(_CONTAINERS)

    def buildah(self, *words: str | Path, seconds: float = 120) -> str:
        """Run buildah on this store."""
        return run("buildah", *self.flags, *words, seconds=seconds)

    def podman(self, *words: str | Path, seconds: float = 120, errors: bool = False) -> str:
        """Run podman on this store."""
        settings = f"CONTAINERS_CONF={self._settings}"
        return run("env", settings, "podman", *self.flags, *words, seconds=seconds, errors=errors)


@contextmanager
def store() -> Iterator[Store]:
    """A store that is gone, with its mounts, when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="psad-image-"))
    place = Store(folder)
    try:
        yield place
    finally:
        try:
            place.podman("rm", "--all", "--force", "--time", "2")
            place.podman("rmi", "--all", "--force", seconds=600)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def make_base(place: Store, cache: Path) -> str:
    """Tag the local stand-in as the image that the Dockerfile names; says what it is."""
    archive = cache / f"debian-{SUITE}-slim.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="psad-base-") as folder:
            _bootstrap(Path(folder) / "root", archive)
    place.podman("import", "--quiet", archive, BASE, seconds=600)
    return "made here: Debian's minimal system less manuals"


def _bootstrap(root: Path, archive: Path) -> None:
    run("debootstrap", "--variant=minbase", SUITE, root, seconds=1_800)
    for name in _LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    part = archive.with_suffix(".part")
    run("tar", "--directory", root, "--create", "--file", part, "--one-file-system", ".",
        seconds=600)  # fmt: skip
    part.rename(archive)


def build(place: Store) -> str:
    """The Dockerfile as it stands; pip may read this machine's settings, as a secret."""
    secrets = _secrets()
    place.buildah(
        "build", "--isolation", "chroot", "--format", "docker", "--pull-never", "--layers=false",
        *secrets, "--tag", IMAGE, ROOT, seconds=2_400,
    )  # fmt: skip
    return f"built; secrets: {' '.join(secrets[1::2]) or 'none'}"


def build_bundle(place: Store, bundles: Path, name: str) -> None:
    """The image that carries a bundle into a cluster: deploy/bundle/Dockerfile."""
    place.buildah(
        "build", "--isolation", "chroot", "--format", "docker", "--pull-never", "--layers=false",
        "--build-arg", f"NAME={name}", "--file", ROOT / "deploy/bundle/Dockerfile",
        "--tag", BUNDLE_IMAGE, bundles, seconds=600,
    )  # fmt: skip


def _secrets() -> list[str]:
    """`--secret` flags for PIP_CONFIG_FILE and PIP_CERT (or SSL_CERT_FILE), where those are set."""
    found = {
        "pip": os.environ.get("PIP_CONFIG_FILE"),
        "ca": os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE"),
    }
    given = {name: path for name, path in found.items() if path and Path(path).is_file()}
    return [word for name, path in given.items() for word in ("--secret", f"id={name},src={path}")]
