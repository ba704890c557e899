"""A project in a temporary folder, built by the real command, its events read from `--json`."""

from __future__ import annotations

import json
import os
import struct
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks import synthetic
from tests import events
from tests.e2e import warm

TINY = {"layers": 2, "hidden": 256, "intermediate": 256, "vocabulary": 300}


@lru_cache(8)
def _checkpoint(**size: int) -> dict[str, bytes]:
    """The files of a checkpoint; most projects have the same."""
    with tempfile.TemporaryDirectory() as folder:
        synthetic.checkpoint(Path(folder), **size)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


class Project:
    """Files, `modelbuild`, and what it said and made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.models = folder / "models"
        self.events: list[dict[str, Any]] = []
        self.errors = ""

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def checkpoint(self, name: str = "weights", **size: int) -> Path:
        """A checkpoint with a chat template of no known family: no TEMPLATE is made of it, and servers render it."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        for file, data in _checkpoint(**{**TINY, **size}).items():
            (self.folder / name / file).write_bytes(data)
        config = self.folder / name / "tokenizer_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": "{{ messages }}"}))
        return self.folder / name

    def command(self, *words: str, models: Path | None = None, cache: Path | None = None) -> list[str]:
        places = ["--cache", str(cache or self.cache), "--models", str(models or self.models)]
        return [sys.executable, "-m", "modelbuild", "-C", str(self.folder), *places, *words]

    def run(self, *words: str, code: int | None = 0, **places: Path) -> str:
        """Run `modelbuild`; returns stdout."""
        done = warm.run(self.command(*words, **places)[3:])
        self.errors = done.err
        assert "Traceback" not in done.err, done.err
        assert code is None or done.code == code, done
        events.check_lines(done.out)
        return done.out

    def build(self, *words: str, code: int | None = 0, **places: Path) -> dict[str, str]:
        """Build; returns the state of each step that did not hit."""
        output = self.run("--json", *words, code=code, **places)
        self.events = [json.loads(line) for line in output.splitlines()]
        return {e["step"]: e["state"] for e in self.events if e["event"] == "step" and e["state"] != "hit"}

    def ran(self, *words: str) -> list[str]:
        """Build; returns the sorted names of the steps that ran."""
        return sorted(self.build(*words))

    @property
    def summary(self) -> dict[str, Any]:
        return self.events[-1]

    def tree(self, models: Path | None = None) -> dict[str, bytes]:
        """Every file of the models folder."""
        root = models or self.models
        return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

    def manifest(self, name: str, models: Path | None = None) -> dict[str, Any]:
        host = "registry.ollama.ai/library"
        value = json.loads(((models or self.models) / "manifests" / host / name.replace(":", "/")).read_text())
        assert isinstance(value, dict)
        return value

    def blob(self, name: str, kind: str) -> bytes:
        """The bytes of a model's layer of some kind (`model`, `system`, `params`, …)."""
        (layer,) = [each for each in self.manifest(name)["layers"] if each["mediaType"].endswith(f"image.{kind}")]
        return (self.models / "blobs" / layer["digest"].replace(":", "-")).read_bytes()

    def check(self, models: Path | None = None) -> None:
        """Every manifest names only blobs that are there and whole, and nothing else lies in the two folders."""
        import hashlib

        root = models or self.models
        if (root / "blobs").exists():
            for path in filter(Path.is_file, (root / "blobs").iterdir()):
                assert path.name == "sha256-" + hashlib.sha256(path.read_bytes()).hexdigest(), path
        for path in (root / "manifests").rglob("*"):
            if path.is_file():
                manifest = json.loads(path.read_text())
                for layer in [manifest["config"], *manifest["layers"]]:
                    blob = root / "blobs" / layer["digest"].replace(":", "-")
                    assert blob.stat().st_size == layer["size"], (path, layer)


def old(path: Path) -> None:
    """Make a file look an hour older, as files that were not written just now do."""
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns - 3600 * 10**9))


def tensor_offset(path: Path, name: str) -> int:
    """Where a tensor's bytes begin in a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return 8 + length + int(header[name]["data_offsets"][0])


def flip(path: Path, offset: int, mask: int = 1) -> None:
    """Change one byte in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ mask]))
