"""Bundle: the immutable folder that export writes and the service loads.

bundles/NAME/VERSION/: manifest.json, schema.json, scorer.onnx, optionally generator.onnx,
catalogue/, golden.json. bundles/NAME/CURRENT (features/pointer.py) holds the version in service and
the sha256 of its manifest; the manifest holds the sha256 of every other file. Nothing in a bundle
is code.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.catalogue import FILES, Catalogue
from features.errors import BundleError
from features.pointer import CURRENT, read_pointer, safe
from features.schema import FeatureSchema

MANIFEST = "manifest.json"
SCORER = "scorer.onnx"
GENERATOR = "generator.onnx"
GOLDEN = "golden.json"
_NO_SEAL = "0" * 64
# optimisers of ONNX Runtime that make a bundle's graphs slower on a CPU: LayerNormalization fused
# with a residual takes three times as long as the two nodes, GELU with a bias a tenth longer
SLOWER = ("SkipLayerNormFusion", "BiasGeluFusion")


class GeneratorFacts(BaseModel):
    """What a generator's graph was made for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    list_size: int = Field(ge=1)  # T, the places it fills
    block_size: int = Field(ge=1)  # K
    beam: int = Field(ge=1)  # lists searched at once


class Counted(BaseModel):
    """What statistics were counted in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    showings: int = Field(ge=0)  # of items that the catalogue knows
    clicks: int = Field(ge=0)  # positive labels among them


class Refreshed(BaseModel):
    """Where a version that was refreshed, and not exported, comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str  # that it was made of
    manifest_sha256: str  # of that version
    exported: str  # when its model was
    data: str  # the dataset's name
    fingerprint: str  # of that dataset's own schema
    lists: int  # that were counted
    first: str  # day of the first and the last list, UTC
    last: str
    counted: Counted
    learned: Counted  # the statistics that the model was trained with
    items: dict[str, int]  # how many came, changed, are the same, were kept or dropped unseen


class Manifest(BaseModel):
    """What a bundle says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str  # "psad-s", reported to callers
    version: str
    created: str  # ISO 8601, UTC
    commit: str | None = None  # of the code that trained it, where known
    fingerprint: str  # of the schema
    config: dict[str, Any] = {}  # what it was trained with
    metrics: dict[str, Any] = {}  # what it measured
    generator: GeneratorFacts | None = None  # of generator.onnx, where there is one
    refreshed: Refreshed | None = None  # where `psad refresh` made it
    files: dict[str, str]  # path in the bundle, "/" between parts -> sha256
    seal: str | None = None  # sha256 of the manifest's own text, with zeros in this place

    def created_seconds(self) -> float:
        """`created` in seconds since 1970; NaN where it is no time, which no bundle is refused for.

        Without a zone it is UTC.
        """
        try:
            created = datetime.fromisoformat(self.created)
        except ValueError:
            return math.nan
        return (created if created.tzinfo else created.replace(tzinfo=UTC)).timestamp()


class Bundle:
    """A verified bundle: every file is as it was written."""

    def __init__(
        self, folder: Path, manifest: Manifest, schema: FeatureSchema, digest: str,
        in_memory: float = 0.0,
    ) -> None:  # fmt: skip
        self.folder, self.manifest, self.schema = folder, manifest, schema
        self.digest = digest  # sha256 of the manifest, which CURRENT names
        self.catalogue = Catalogue.load(folder / "catalogue", schema, in_memory)

    @property
    def scorer(self) -> Path:
        """The scoring network as an ONNX file."""
        return self.folder / SCORER

    @property
    def generator(self) -> Path | None:
        """The generator as an ONNX file, where the bundle carries one."""
        return self.folder / GENERATOR if GENERATOR in self.manifest.files else None

    def golden(self) -> list[dict[str, Any]]:
        """Requests with the arrays and results that they must give; for replay before serving."""
        golden = _read_json(self.folder / GOLDEN)
        if not isinstance(golden, dict) or not isinstance(golden.get("requests"), list):
            raise BundleError(f"{self.folder / GOLDEN} holds no list of requests: export it again.")
        requests: list[dict[str, Any]] = golden["requests"]
        return requests

    @classmethod
    def load(
        cls, folder: Path, manifest_sha256: str | None = None, in_memory: float = 0.0
    ) -> Bundle:
        """Read and verify; raises BundleError naming the file that is missing or altered.

        A catalogue of up to `in_memory` bytes is read, a larger one mapped (features/arrays.py).
        """
        if (path := folder / MANIFEST).is_symlink():
            raise BundleError(f"{path} is a link, and a bundle holds its files itself.")
        text = _read(path)
        digest = hashlib.sha256(text).hexdigest()
        if manifest_sha256 not in (None, digest):
            raise BundleError(f"{folder / MANIFEST} is not the manifest that was published")
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            raise BundleError(f"{folder / MANIFEST} cannot be read: {error}") from error
        if manifest.seal not in (None, _seal_of(text, manifest.seal)):
            raise BundleError(f"{folder / MANIFEST} was altered since export: export it again.")
        _verify(folder, manifest)
        schema = FeatureSchema.load(folder / "schema.json")
        if schema.fingerprint() != manifest.fingerprint:
            raise BundleError(f"{folder}: the schema is not the one the manifest was made for")
        return cls(folder, manifest, schema, digest, in_memory)


def resolve(folder: Path, in_memory: float = 0.0) -> Bundle:
    """The bundle in service below `bundles/NAME`, or `folder` itself where it is a bundle."""
    if (folder / MANIFEST).exists():
        return Bundle.load(folder, in_memory=in_memory)
    pointer = folder / CURRENT
    if not pointer.exists():
        raise BundleError(
            f"{folder} holds neither {MANIFEST} nor {CURRENT}: give the folder that "
            "`psad export RUN BUNDLE` wrote, or the one above it."
        )
    found = read_pointer(folder)
    return Bundle.load(folder / found.version, found.manifest_sha256, in_memory)


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` in one rename when the block ends well.

    Raises BundleError where `folder` exists, or does by the end: versions are immutable.
    """
    taken = BundleError(f"{folder} exists and a version is never changed: choose a new one.")
    if folder.exists():
        raise taken
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError as error:
            if folder.exists():
                raise taken from error
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def seal(folder: Path, **fields: Any) -> Manifest:
    """Write the manifest of a finished folder: Manifest's fields, with every file's sha256."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    manifest = Manifest(files=files, **fields)
    (folder / MANIFEST).write_bytes(sealed(manifest))
    return manifest


def sealed(manifest: Manifest) -> bytes:
    """A manifest's text, with its own digest at the end of it."""
    open_ = manifest.model_copy(update={"seal": _NO_SEAL}).model_dump_json(indent=1).encode()
    return _replaced(open_, _NO_SEAL, _seal_of(open_, _NO_SEAL))


def _seal_of(text: bytes, found: str | None) -> str:
    return hashlib.sha256(_replaced(text, found or _NO_SEAL, _NO_SEAL)).hexdigest()


def _replaced(text: bytes, seal: str, by: str) -> bytes:
    """The last place where it stands: nothing comes after it in a manifest."""
    before, _, after = text.rpartition(seal.encode())
    return before + by.encode() + after


def sha256_of(path: Path) -> str:
    """Digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(folder: Path, manifest: Manifest) -> None:
    needed = {"schema.json", SCORER, GOLDEN, *(f"catalogue/{name}" for name in FILES)}
    if manifest.generator is not None:
        needed.add(GENERATOR)
    if missing := needed - manifest.files.keys():
        raise BundleError(f"{folder / MANIFEST} lists no {', '.join(sorted(missing))}")
    if manifest.generator is None and GENERATOR in manifest.files:
        raise BundleError(f"{folder / MANIFEST} does not say what {GENERATOR} was made for")
    for name, digest in manifest.files.items():
        path = folder / safe(name)
        if not path.is_file():
            said = f"{path} is missing from the bundle: export it again."
            raise BundleError(said) from FileNotFoundError(path)  # it may be on its way
        if path.resolve() != folder.resolve() / name:
            raise BundleError(f"{path} is a link, and a bundle holds its files itself.")
        if sha256_of(path) != digest:
            raise BundleError(f"{path} was altered since export: export it again.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
