"""What stands in a models folder is listed, whatever else stands there."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama.library import Library
from modelbuild.ollama.survey import survey


def install(root: Path, path: str, *texts: str, file_type: str = "Q8_0") -> Path:
    """Put a model under `host/namespace/model/tag`: a config, and a layer for each text."""
    layers = []
    for text in (json.dumps({"file_type": file_type}), *texts):
        digest = hashlib.sha256(text.encode()).hexdigest()
        (root / "blobs").mkdir(parents=True, exist_ok=True)
        (root / "blobs" / f"sha256-{digest}").write_text(text)
        layers.append({"mediaType": "m", "digest": f"sha256:{digest}", "size": len(text)})
    manifest = root / "manifests" / path
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": layers[0], "layers": layers[1:]}))
    return manifest


def whats(root: Path) -> list[str]:
    return [fault.what for fault in survey(Library(str(root))).faults]


def test_models_are_listed_by_name_with_what_their_manifests_say(tmp_path: Path) -> None:
    assert survey(Library(str(tmp_path))) == ([], [])
    path = install(tmp_path, "registry.ollama.ai/library/b/latest", "weights", "system")
    install(tmp_path, "registry.ollama.ai/library/a/v1", "weights", file_type="Q4_K_M")
    os.utime(path, (5, 5))
    found = survey(Library(str(tmp_path)))
    assert [(each.name.display(), each.file_type, each.size) for each in found.models] == [
        ("a:v1", "Q4_K_M", 7 + len('{"file_type": "Q4_K_M"}')),
        ("b:latest", "Q8_0", 13 + len('{"file_type": "Q8_0"}')),
    ]
    assert found.models[1].modified == 5
    assert found.models[1].digest == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.faults == []


def test_what_is_wrong_is_said_and_everything_else_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "manifests/h/n/m"
    install(tmp_path, "h/n/m/whole", "weights")
    lacking = install(tmp_path, "h/n/m/lacking", "gone", "gone too")
    for text in ("gone", "gone too"):
        (tmp_path / "blobs" / f"sha256-{hashlib.sha256(text.encode()).hexdigest()}").unlink()
    (folder / ".DS_Store").write_text("x")
    (folder / "damaged").write_bytes(lacking.read_bytes()[:-1])
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (tmp_path / "manifests/h/file").write_text("at another depth: no server looks at it")
    install(tmp_path, "h/n/M/whole", "weights")
    install(tmp_path, "h/n/m/my-cloud", "weights")
    found = survey(Library(str(tmp_path)))
    assert [each.name.path() for each in found.models] == [
        "h/n/M/whole", "h/n/m/lacking", "h/n/m/my-cloud", "h/n/m/whole",
    ]  # fmt: skip
    assert [fault.what for fault in found.faults] == [
        "this file among the manifests is not a model's",
        "the manifest of 'h/n/m:damaged' cannot be read: manifest is not JSON: expecting ',' delimiter at byte 390",
        "the manifest of 'h/n/m:dangling' is a link that leads nowhere",
        "the manifest of 'h/n/m:pipe' cannot be read: not a regular file",
        "'h/n/m:lacking' lacks 2 blobs",
        "'h/n/M:whole', 'h/n/m:whole' differ only in case: to Ollama they are one model",
        "tag 'my-cloud' of 'h/n/m:my-cloud' is reserved: Ollama lists such a model but cannot run it",
    ]
    assert all(fault.hint for fault in found.faults)


@pytest.mark.parametrize("config", ["{", "[]", '{"file_type": 1}', '{"file_type": "a\\u001b[31m"}'])
def test_a_config_that_says_nothing_is_no_fault(tmp_path: Path, config: str) -> None:
    path = install(tmp_path, "h/n/m/t", "weights")
    blob = tmp_path / "blobs" / json.loads(path.read_text())["config"]["digest"].replace(":", "-")
    blob.write_text(config)
    assert survey(Library(str(tmp_path))).models[0].file_type is None
    assert whats(tmp_path) == []


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(Error, match="cannot list the models folder: permission denied"):
        survey(Library(str(tmp_path)))
