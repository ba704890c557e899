"""What a registry is sent of a variant in a shape: what an export in that shape has, and no bytes of it twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.engine.build import BuildOptions
from modelbuild.errors import Error
from modelbuild.registry.joined_blob import FileRange
from modelbuild.session.artifacts import packed
from modelbuild.session.building import build
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def built(start: Open) -> Session:
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    return start()


@pytest.mark.parametrize(
    ("shape", "split"),
    [("oci", ""), ("modelpack", ""), ("docker-model", ""), ("modelpack", "6"), ("docker-model", "6")],
)
def test_it_is_what_export_writes(shape: str, split: str, start: Open, project: Project) -> None:
    session = built(start)
    output = next(each for each in session.graph.outputs if each.label == "chat")
    found = packed(session, output, shape, split)
    project.run("export", "--as", shape, "chat", "out", *(["--split", split] if split else []))
    index = json.loads((project.folder / "out/index.json").read_text())
    assert [each["digest"] for each in index["manifests"]] == [sha256(found.manifest)]
    manifest = json.loads(found.manifest)
    assert sum("gguf" in str(each) for each in manifest["layers"]) == (4 if split else 1) or shape == "oci"
    for each in (manifest["config"], *manifest["layers"]):
        blob = found.made.get(each["digest"])
        file = project.folder / "out/blobs" / each["digest"].replace(":", "/")
        path = Path(session.models.library.blob_path(each["digest"]))
        assert (blob.read() if blob else path.read_bytes()) == file.read_bytes()
        # Weights are read where they lie.
        parts = blob._parts if blob else ()  # type: ignore[attr-defined]
        assert all(isinstance(part, FileRange) or len(part) < 100_000 for part in parts)
    assert packed(session, output, shape, split) is not found


def test_a_model_that_is_not_built_as_it_is_declared_is_refused(start: Open, project: Project) -> None:
    session = start()
    with pytest.raises(Error, match="'base' was changed while it was pushed"):
        packed(session, session.graph.outputs[0], "oci", "")


def test_a_blob_that_is_gone_is_said(start: Open, project: Project) -> None:
    session = built(start)
    (blob,) = [path for path in (project.models / "blobs").iterdir() if path.stat().st_size > 100_000]
    blob.unlink()
    for path in project.cache.rglob(blob.name):
        path.unlink()
    with pytest.raises(Error, match="missing or damaged|was changed"):
        packed(session, session.graph.outputs[0], "modelpack", "6")
