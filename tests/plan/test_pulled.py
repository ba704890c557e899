"""Names of models folders: what the lock pins, what stands there, and what is known of what is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.ollama import manifest as media
from modelbuild.ollama.name import Name
from modelbuild.plan import seen
from modelbuild.plan.pulled import NotPulled, Pulled, PulledModels
from modelbuild.plan.weights import WeightsReader
from modelbuild.project.variant import From
from tests.plan.test_plan import gguf_file, library
from tests.projects import load, write

NAME = Name.parse("base")


def line(root: Path) -> From:
    return load(root, '[model.a]\nfrom = "base"\n').variants[0].froms[0]


def read(root: Path, pin: str | None = None, cache: Path | None = None) -> Pulled:
    observed = Observed()
    pins = {"base:latest": pin} if pin else {}
    models = PulledModels(observed, WeightsReader(observed), [str(root / "models")], pins, cache and str(cache))
    return models.read(line(root), NAME)


def manifest(root: Path) -> Path:
    return root / "models/manifests" / NAME.path()


def remembered(root: Path) -> str:
    """Keep what is known of the model of a models folder; returns the digest of its manifest."""
    data = manifest(root).read_bytes()
    parsed = media.Manifest.parse(data)
    blobs = {
        each.digest: (root / "models/blobs" / each.digest.replace(":", "-")) for each in (parsed.config, *parsed.layers)
    }
    small = {digest: blobs[digest].read_bytes() for digest in seen.small(parsed)}
    sources = {each.digest: "xxh3:" + each.digest[7:39] for each in parsed.layers}
    path = Path(seen.path(str(root / "cache"), sha256(data)))
    path.parent.mkdir(parents=True)
    path.write_bytes(seen.Seen(data, small, True, sources).encode())
    return sha256(data)


def test_without_a_pin_what_stands_there_counts(tmp_path: Path) -> None:
    write(tmp_path, library(tmp_path, system=b"S"))
    found = read(tmp_path)
    assert found.digest == sha256(manifest(tmp_path).read_bytes()) and found.unquantized
    assert [source.known for _, source in found.blobs] == ["", ""]


def test_a_pin_counts_against_what_stands_there(tmp_path: Path) -> None:
    write(tmp_path, library(tmp_path, system=b"Two."))
    with pytest.raises(NotPulled) as caught:
        read(tmp_path, "sha256:" + "0" * 64)
    assert caught.value.wanted == ("base:latest", "sha256:" + "0" * 64)
    # The same manifest under the name that a moved tag leaves it.
    pin = sha256(manifest(tmp_path).read_bytes())
    aside = tmp_path / "models/manifests" / seen.aside(NAME, pin).path()
    manifest(tmp_path).rename(aside)
    write(tmp_path, library(tmp_path, system=b"Three."))
    assert read(tmp_path, pin).digest == pin


def test_what_was_seen_stands_for_files_that_are_gone(tmp_path: Path) -> None:
    write(tmp_path, library(tmp_path, system=b"S", params=media.params_blob({"top_k": 3})))
    before = read(tmp_path)
    pin = remembered(tmp_path)
    manifest(tmp_path).unlink()
    for path in (tmp_path / "models/blobs").iterdir():
        path.unlink()
    with pytest.raises(NotPulled):
        read(tmp_path, pin)
    found = read(tmp_path, pin, tmp_path / "cache")
    assert (found.parameters, found.config, found.unquantized) == ({"top_k": 3}, before.config, True)
    assert all(source.known == "xxh3:" + Path(source.path).name[7:39] for _, source in found.blobs)


def test_a_blob_that_is_gone_and_unknown_is_to_be_pulled(tmp_path: Path) -> None:
    write(tmp_path, library(tmp_path))
    (tmp_path / "models/blobs" / sha256(gguf_file()).replace(":", "-")).unlink()
    with pytest.raises(NotPulled) as caught:
        read(tmp_path)
    assert caught.value.wanted.pin == sha256(manifest(tmp_path).read_bytes())


def test_a_manifest_that_is_damaged_is_told(tmp_path: Path) -> None:
    write(tmp_path, library(tmp_path))
    manifest(tmp_path).write_text("{")
    with pytest.raises(Error, match="the manifest of 'base' cannot be read"):
        read(tmp_path)
    with pytest.raises(NotPulled):
        read(tmp_path, "sha256:" + "0" * 64)


def test_looks_are_written_down_for_what_is_not_there(tmp_path: Path) -> None:
    observed = Observed()
    models = PulledModels(observed, WeightsReader(observed), [str(tmp_path / "models")], {}, None)
    assert not models.knows(NAME)
    assert ("kind", str(manifest(tmp_path)), "") in observed.looks()


def test_what_an_earlier_build_of_the_project_left_is_no_base_unless_it_is_pinned(tmp_path: Path) -> None:
    write(tmp_path, library(tmp_path, system=b"S"))
    digest = sha256(manifest(tmp_path).read_bytes())
    asked = []

    def wrote(root: str, name: str, found: str) -> bool:
        asked.append((root, name, found))
        return True

    def found(pins: dict[str, str]) -> Pulled:
        observed = Observed()
        models = PulledModels(observed, WeightsReader(observed), [str(tmp_path / "models")], pins, None, wrote)
        return models.read(line(tmp_path), NAME)

    assert found({"base:latest": digest}).digest == digest and not asked
    with pytest.raises(Error, match="'base' is no longer declared: the installed 'base:latest' is left over") as caught:
        found({})
    assert "modelbuild cp base:latest NAME" in str(caught.value) and "clean --stale" in str(caught.value)
    assert asked == [(str(tmp_path / "models"), NAME.path(), digest)]
