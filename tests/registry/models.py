"""Small models folders, and what pushes from them say."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from modelbuild.errors import Error
from modelbuild.ollama.library import Library
from modelbuild.ollama.manifest import CONFIG, MODEL, PARAMS, Layer, Manifest
from modelbuild.ollama.name import Name
from tests.registry.standin import digest

GOLDEN = Path(__file__).parents[1] / "golden" / "push"

SMALL_MODEL = bytes(range(256)) * 40
CONFIG_BYTES = b'{"model_format":"gguf"}\n'


class Models:
    """A models folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.library = Library(str(root))
        (root / "blobs").mkdir(parents=True)

    def path(self, blob: str) -> Path:
        return Path(self.library.blob_path(blob))

    def blob(self, data: bytes) -> str:
        self.path(digest(data)).write_bytes(data)
        return digest(data)

    def layer(self, kind: str, data: bytes, from_: str | None = None) -> Layer:
        return Layer(kind, self.blob(data), len(data), from_)

    def model(
        self, name: str = "acme/chat", *, model: bytes = SMALL_MODEL, temperature: float = 0.5, from_: str | None = None
    ) -> bytes:
        """Put a model of three blobs there; returns its manifest."""
        layers = (
            self.layer(MODEL, model, from_),
            self.layer(PARAMS, json.dumps({"temperature": temperature}).encode() + b"\n"),
        )
        return self.named(name, Manifest(self.layer(CONFIG, CONFIG_BYTES), layers))

    def named(self, name: str, manifest: Manifest) -> bytes:
        path = Path(self.library.manifest_path(Name.parse(name).path()))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest.encode())
        return manifest.encode()


def check_golden(case: str, error: Error, host: str, root: Path | None = None) -> None:
    """Compare an error with tests/golden/push/CASE.txt; UPDATE_GOLDEN=1 writes it."""
    text = f"{error}\n".replace(host, "HOST")
    text = text.replace(str(root), "MODELS") if root else text
    text = re.sub(r"(?<=sha256[:-])[0-9a-f]{64}", "…", text)
    path = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
