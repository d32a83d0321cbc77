"""A bundle is what was sealed, or it does not load."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.bundle import (
    Bundle,
    GeneratorFacts,
    Manifest,
    resolve,
    seal,
    sha256_of,
    writing,
)
from features.bundle import (
    sealed as with_seal,
)
from features.catalogue import Catalogue
from features.errors import BundleError
from features.publish import publish, roll_back
from features.schema import FeatureSchema

FILES = 19  # schema, scorer, golden, items, three packed arrays and eleven of statistics, generator


def fill(folder: Path, schema: FeatureSchema, catalogue: Catalogue, **fields: Any) -> None:
    """Everything a bundle holds, sealed; the networks are stand-ins: nobody runs them here."""
    schema.save(folder / "schema.json")
    catalogue.save(folder / "catalogue")
    (folder / "scorer.onnx").write_bytes(b"scorer")
    (folder / "generator.onnx").write_bytes(b"generator")
    (folder / "golden.json").write_text(json.dumps({"requests": [{"request": {}}]}))
    stated: dict[str, Any] = {
        "name": "toy",
        "version": folder.name,
        "created": "2025-01-01T00:00:00Z",
    }
    facts = GeneratorFacts(list_size=10, block_size=3, beam=4)
    stated |= {"fingerprint": schema.fingerprint(), "generator": facts}
    seal(folder, **stated | fields)


@pytest.fixture(scope="session")
def sealed(
    schema: FeatureSchema, catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "toy" / "v1"
    with writing(folder) as temporary:
        fill(temporary, schema, catalogue, version="v1")
    return folder


@pytest.fixture
def bundle(sealed: Path, tmp_path: Path) -> Path:
    """A copy of its own for a test to break."""
    return Path(shutil.copytree(sealed, tmp_path / "toy" / "v1"))


def reseal(folder: Path, **changes: Any) -> None:
    """Change the manifest as somebody who knows its format would."""
    path = folder / "manifest.json"
    manifest = Manifest.model_validate_json(path.read_text())
    path.write_bytes(with_seal(manifest.model_copy(update=changes)))


def files_of(folder: Path) -> dict[str, str]:
    files: dict[str, str] = json.loads((folder / "manifest.json").read_text())["files"]
    return files


def test_what_was_sealed_loads(bundle: Path, schema: FeatureSchema, catalogue: Catalogue) -> None:
    loaded = Bundle.load(bundle)
    assert loaded.schema == schema
    assert loaded.catalogue.ids == catalogue.ids
    np.testing.assert_array_equal(loaded.catalogue.numeric, catalogue.numeric)
    assert loaded.scorer.read_bytes() == b"scorer"
    assert loaded.generator == bundle / "generator.onnx"
    assert loaded.golden() == [{"request": {}}]
    assert (loaded.manifest.name, loaded.manifest.version) == ("toy", "v1")
    assert len(loaded.manifest.files) == FILES


def test_the_manifest_holds_the_sha256_of_every_file_but_itself(bundle: Path) -> None:
    found = {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert files_of(bundle) == found


def test_a_bundle_may_go_without_a_generator(bundle: Path) -> None:
    (bundle / "generator.onnx").unlink()
    files = {k: v for k, v in files_of(bundle).items() if k != "generator.onnx"}
    reseal(bundle, files=files, generator=None)
    assert Bundle.load(bundle).generator is None


def test_a_generator_must_say_what_it_was_made_for(bundle: Path) -> None:
    assert Bundle.load(bundle).manifest.generator == GeneratorFacts(
        list_size=10, block_size=3, beam=4
    )
    reseal(bundle, generator=None)
    with pytest.raises(BundleError, match=r"does not say what generator\.onnx was made for"):
        Bundle.load(bundle)


@pytest.mark.parametrize("place", range(FILES))
def test_one_altered_bit_in_any_file_is_refused_by_name(bundle: Path, place: int) -> None:
    path = bundle / sorted(files_of(bundle))[place]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{path.name} was altered since export"):
        Bundle.load(bundle)


@pytest.mark.parametrize("place", range(FILES))
def test_any_missing_file_is_refused_by_name(bundle: Path, place: int) -> None:
    path = bundle / sorted(files_of(bundle))[place]
    path.unlink()
    with pytest.raises(BundleError, match=rf"{path.name} is missing"):
        Bundle.load(bundle)


@pytest.mark.parametrize("place", range(FILES))
def test_a_file_that_is_read_must_be_listed(bundle: Path, place: int) -> None:
    files = files_of(bundle)
    name = sorted(files)[place]
    reseal(bundle, files={k: v for k, v in files.items() if k != name})
    with pytest.raises(BundleError, match=rf"lists no {name}"):
        Bundle.load(bundle)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "catalogue/../../secret", "..", "a\\..\\b", "", ".", "a\0b"],
)
def test_a_path_that_leaves_the_bundle_is_refused(bundle: Path, name: str) -> None:
    secret = bundle.parent / "secret"
    secret.write_bytes(b"secret")
    reseal(bundle, files=files_of(bundle) | {name: sha256_of(secret)})
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle.load(bundle)


def test_a_link_to_a_file_is_refused(bundle: Path) -> None:
    path = bundle / "scorer.onnx"
    path.rename(bundle.parent / "scorer.onnx")
    path.symlink_to(bundle.parent / "scorer.onnx")
    with pytest.raises(BundleError, match=r"scorer\.onnx is a link"):
        Bundle.load(bundle)


def test_a_link_to_a_folder_is_refused(bundle: Path) -> None:
    path = bundle / "catalogue"
    path.rename(bundle.parent / "catalogue")
    path.symlink_to(bundle.parent / "catalogue")
    with pytest.raises(BundleError, match="is a link"):
        Bundle.load(bundle)


def test_the_bundle_itself_may_be_reached_by_a_link(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(bundle)
    assert Bundle.load(tmp_path / "latest").manifest.version == "v1"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b'{"format": 2}', b'{"files": []}']
)
def test_a_manifest_that_cannot_be_read_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read"):
        Bundle.load(bundle)


def test_a_schema_other_than_the_manifests_is_refused(bundle: Path) -> None:
    reseal(bundle, fingerprint="0" * 64)
    with pytest.raises(BundleError, match="the schema is not the one the manifest was made for"):
        Bundle.load(bundle)


@pytest.mark.parametrize("content", ["[]", "{}", '{"requests": 3}', "{"])
def test_golden_requests_that_are_none_are_refused(bundle: Path, content: str) -> None:
    (bundle / "golden.json").write_text(content)
    files = files_of(bundle) | {"golden.json": sha256_of(bundle / "golden.json")}
    reseal(bundle, files=files)
    with pytest.raises(BundleError, match=r"golden\.json"):
        Bundle.load(bundle).golden()


def test_the_published_version_is_the_one_in_service(bundle: Path) -> None:
    second = Path(shutil.copytree(bundle, bundle.parent / "v2"))
    reseal(second, version="v2")
    publish(bundle)
    assert resolve(bundle.parent).manifest.version == "v1"
    publish(second)
    assert resolve(bundle.parent).manifest.version == "v2"
    assert resolve(bundle).manifest.version == "v1"  # the folder itself, whatever is in service
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["CURRENT", "v1", "v2"]


def test_rolling_back_puts_the_version_before_in_service_and_then_the_newer_again(
    bundle: Path,
) -> None:
    home, second = bundle.parent, Path(shutil.copytree(bundle, bundle.parent / "v2"))
    reseal(second, version="v2")
    publish(bundle)
    with pytest.raises(BundleError, match="names no version before v1"):
        roll_back(home)
    publish(second)
    assert roll_back(home).version == resolve(home).manifest.version == "v1"
    assert roll_back(home).version == resolve(home).manifest.version == "v2"


def test_a_version_that_was_altered_is_not_gone_back_to(bundle: Path) -> None:
    second = Path(shutil.copytree(bundle, bundle.parent / "v2"))
    reseal(second, version="v2")
    publish(bundle)
    publish(second)
    reseal(bundle, name="another")
    with pytest.raises(BundleError, match="is not the manifest that was published"):
        roll_back(bundle.parent)
    assert resolve(bundle.parent).manifest.version == "v2"


def test_a_manifest_changed_after_publication_is_refused(bundle: Path) -> None:
    publish(bundle)
    reseal(bundle, name="another")
    with pytest.raises(BundleError, match="is not the manifest that was published"):
        resolve(bundle.parent)


def test_a_version_without_a_manifest_is_not_published(bundle: Path) -> None:
    publish(bundle)
    unsealed = bundle.parent / "v2"
    unsealed.mkdir()
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read"):
        publish(unsealed)
    assert resolve(bundle.parent).manifest.version == "v1"


def test_a_publication_cut_short_changes_nothing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bundle)
    second = Path(shutil.copytree(bundle, bundle.parent / "v2"))

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        publish(second)
    assert json.loads((bundle.parent / "CURRENT").read_text())["version"] == "v1"
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["CURRENT", "v1", "v2"]


@pytest.mark.parametrize(
    ("pointer", "message"),
    [
        ("{", "CURRENT is not JSON"),
        ("[]", "CURRENT cannot be read"),
        ("{}", "CURRENT cannot be read"),
        ('{"version": "v1"}', "CURRENT cannot be read"),
        ('{"version": "../toy/v1", "manifest_sha256": ""}', "leaves the bundle"),
        ('{"version": "/etc", "manifest_sha256": ""}', "leaves the bundle"),
        ('{"version": "v\\u0000", "manifest_sha256": ""}', "leaves the bundle"),
        ('{"version": "v9", "manifest_sha256": ""}', r"v9/manifest\.json cannot be read"),
        ('{"version": "v1", "manifest_sha256": ""}', "is not the manifest that was published"),
    ],
)
def test_a_pointer_to_no_published_version_is_refused(
    bundle: Path, pointer: str, message: str
) -> None:
    (bundle.parent / "CURRENT").write_text(pointer)
    with pytest.raises(BundleError, match=message):
        resolve(bundle.parent)


def test_a_folder_that_holds_no_bundle_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="psad export RUN BUNDLE"):
        resolve(tmp_path)


def test_a_version_is_never_written_twice(bundle: Path) -> None:
    with pytest.raises(BundleError, match="a version is never changed"), writing(bundle):
        pytest.fail("the block must not run")
    assert Bundle.load(bundle).manifest.version == "v1"


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_nothing(
    interruption: type[BaseException], tmp_path: Path
) -> None:
    folder = tmp_path / "toy" / "v1"

    def write() -> None:
        with writing(folder) as temporary:
            (temporary / "scorer.onnx").write_bytes(b"half")
            assert not folder.exists()
            raise interruption

    with pytest.raises(interruption):
        write()
    assert list(folder.parent.iterdir()) == []


def test_a_written_bundle_is_readable_by_others(sealed: Path) -> None:
    assert sealed.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in sealed.parent.iterdir()] == ["v1"]


def test_sealing_covers_a_file_named_like_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "manifest.json").write_text("{}")
    (tmp_path / "manifest.json").write_text("an older one")
    manifest = seal(tmp_path, name="n", version="v", created="", fingerprint="")
    assert list(manifest.files) == ["catalogue/manifest.json"]


@pytest.mark.parametrize(
    ("created", "seconds"),
    [
        ("2025-01-01T00:00:00Z", 1_735_689_600),
        ("2025-01-01T02:00:00+02:00", 1_735_689_600),
        ("2025-01-01", 1_735_689_600),  # no zone: UTC
        ("yesterday", float("nan")),
    ],
)
def test_the_time_of_export_is_read_and_refuses_nothing(
    bundle: Path, created: str, seconds: float
) -> None:
    reseal(bundle, created=created)
    found = Bundle.load(bundle).manifest.created_seconds()
    np.testing.assert_equal(found, seconds)


def test_every_byte_of_a_manifest_counts_though_no_pointer_names_it(bundle: Path) -> None:
    path = bundle / "manifest.json"
    text = path.read_bytes()
    Bundle.load(bundle)
    for place in range(len(text)):
        path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])
        with pytest.raises(BundleError):
            Bundle.load(bundle)
    for more in (b" ", b"\n", text):
        path.write_bytes(text + more)
        with pytest.raises(BundleError):
            Bundle.load(bundle)


def test_a_manifest_from_before_there_were_seals_is_read(bundle: Path) -> None:
    path = bundle / "manifest.json"
    old = json.loads(path.read_text())
    del old["seal"]
    path.write_text(json.dumps(old))
    assert Bundle.load(bundle).manifest.seal is None


def test_a_manifest_that_is_a_link_is_refused(bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.rename(bundle.parent / "elsewhere.json")
    path.symlink_to(bundle.parent / "elsewhere.json")
    with pytest.raises(BundleError, match=r"manifest\.json is a link"):
        Bundle.load(bundle)
