"""Nothing that is read can bring code along: no pickles, no evaluation, no loading by name."""

from __future__ import annotations

import ast
import hashlib
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.bundle import Bundle, Manifest, sealed
from features.catalogue import FILES
from features.errors import BundleError, PsadError
from tests.service.conftest import write_bundle

ROOT = Path(__file__).parents[2]
MODULES = {
    "cloudpickle", "ctypes", "dill", "imp", "importlib", "joblib", "marshal", "pickle", "runpy",
    "shelve", "subprocess",
}  # fmt: skip
CALLS = {"__import__", "compile", "eval", "exec", "system", "popen", "unsafe_load",
         "register_custom_ops_library"}  # fmt: skip
LOADERS = {"load", "open_memmap", "fromfile", "memmap", "genfromtxt"}


def faults(source: str) -> Iterator[str]:
    """What could run something that was read."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{one.name}" for one in node.names]
            yield from (
                name for name in names
                if name.split(".")[0] in MODULES and name != "importlib.metadata"
            )  # fmt: skip
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            plain = node.func.id if isinstance(node.func, ast.Name) else name
            if plain in CALLS and not (
                plain == "compile" and ast.unparse(node.func) == "re.compile"
            ):
                yield ast.unparse(node)
            if ast.unparse(node.func) in ("np.load", "numpy.load") and "allow_pickle=False" not in (
                text := ast.unparse(node)
            ):
                yield text


@pytest.mark.parametrize("package", ["features", "service"])
def test_no_module_of_the_service_can_run_what_it_reads(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 5
    assert {path.name: found for path in files if (found := [*faults(path.read_text())])} == {}


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from marshal import loads", "import importlib", "exec(text)", "os.system(x)",
     "from importlib import import_module", "np.load(path)", "np.load(p, allow_pickle=True)",
     "options.register_custom_ops_library(path)", "compile(a, b, 'exec')"],
)  # fmt: skip
def test_the_search_above_finds(source: str) -> None:
    assert [*faults(source)]


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("sound")) / "1"


@pytest.mark.parametrize("how", ["array", "pickle"])
@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".npy")])
def test_a_pickle_in_place_of_an_array_is_refused_and_not_run(
    sound: Path, tmp_path: Path, name: str, how: str
) -> None:
    folder, trace = Path(shutil.copytree(sound, tmp_path / "1")), tmp_path / "ran"
    path = folder / "catalogue" / name
    if how == "pickle":
        path.write_bytes(pickle.dumps(Payload(trace)))
    else:
        np.save(path, np.array([Payload(trace)], object), allow_pickle=True)
    reseal(folder)
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(folder)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists()  # so it would have been seen


def reseal(folder: Path) -> None:
    """As somebody who can write bundles would: every checksum is right."""
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_text())
    files = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in manifest.files}
    (folder / "manifest.json").write_bytes(sealed(manifest.model_copy(update={"files": files})))


def test_json_nested_for_ever_in_a_bundle_is_refused(sound: Path, tmp_path: Path) -> None:
    for name in ("schema.json", "catalogue/items.json", "manifest.json"):
        folder = Path(shutil.copytree(sound, tmp_path / name.replace("/", "-")))
        (folder / name).write_text("[" * 100_000 + "]" * 100_000)
        if name != "manifest.json":
            reseal(folder)
        with pytest.raises(PsadError, match=name.split("/")[0]):
            Bundle.load(folder)
