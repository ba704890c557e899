"""The texts of a built model are read as they are, and what is not what a layer says is an error."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library
from modelbuild.ollama.manifest import ConfigV2, Layer, Manifest
from modelbuild.session.layers import Texts

NAME = "registry.ollama.ai/library/m/latest"
CONFIG = ConfigV2()


def write(folder: Path, *layers: tuple[str, bytes], config: ConfigV2 | bytes = CONFIG, name: str = NAME) -> Library:
    """A models folder of one model, of whatever layers."""
    library = Library(str(folder))
    Path(library.blobs).mkdir(parents=True, exist_ok=True)

    def put(kind: str, data: bytes) -> Layer:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        Path(library.blob_path(digest)).write_bytes(data)
        return Layer(kind, digest, len(data))

    whole = put(manifest.CONFIG, config if isinstance(config, bytes) else config.encode())
    path = Path(library.manifest_path(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Manifest(whole, tuple(put(kind, data) for kind, data in layers)).encode())
    return library


def texts(folder: Path, *layers: tuple[str, bytes], config: ConfigV2 | bytes = CONFIG) -> Texts:
    library = write(folder, *layers, config=config)
    served = library.served(NAME)
    assert served is not None
    return Texts(library, served)


def test_what_a_model_says(tmp_path: Path) -> None:
    found = texts(
        tmp_path,
        (manifest.SYSTEM, b"first"),
        (manifest.SYSTEM, "Zoë".encode()),
        (manifest.LICENSE, b"a"),
        (manifest.LICENSE, b"b"),
        (manifest.PARAMS, b'{"top_k": 1, "stop": ["x"]}'),
        (manifest.PARAMS, b'{"top_k": 2, "seed": 3}'),
        (manifest.MESSAGES, b'[{"role": "user", "content": "Hi"}]'),
        config=ConfigV2(renderer="gemma4"),
    )
    assert found.text(manifest.SYSTEM) == "Zoë" and found.text(manifest.TEMPLATE) is None
    assert found.texts(manifest.LICENSE) == ["a", "b"]
    assert found.parameters() == {"top_k": 1, "stop": ["x"], "seed": 3}
    assert found.messages() == [("user", "Hi")]
    assert found.config()["renderer"] == "gemma4"
    assert len(found.paths(manifest.LICENSE)) == 2 and found.path(manifest.MODEL) is None


@pytest.mark.parametrize(
    "data",
    [b"{}", b'[{"role": "tool", "content": ""}]', b'[{"role": "user", "content": 1}]', b"[1]", b"x", b"[" * 100_000],
)
def test_messages_that_are_none(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Error):
        texts(tmp_path, (manifest.MESSAGES, data)).messages()


def test_a_config_that_is_none(tmp_path: Path) -> None:
    assert texts(tmp_path, config=b"[]").config() == {}
    with pytest.raises(Error):
        texts(tmp_path, config=b"\xff").config()
