"""Hostile and huge inputs, made on the spot: a project each, of which one file is not what it should be.

A file of this folder holds the cases for one kind of files as functions that write into a project's folder:

    @case             small and quickly told
    @case(heavy=True) large files, for which there is a test of its own
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import encode_value

from ... import checkpoints

MODULES = ("cards", "configs", "ggufs", "headers", "matrices", "projects", "templates", "vocabularies")

SMALL = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
TOML = '[model.m]\nfrom = "./weights"\n'

Write = Callable[[Path], object]


class Case(NamedTuple):
    name: str
    write: Write
    heavy: bool


_CASES: list[Case] = []


def case(write: Write | None = None, *, heavy: bool = False) -> Any:
    """Take a function in as a case of its name."""

    def take(write: Write) -> Write:
        _CASES.append(Case(write.__name__.replace("_", "-"), write, heavy))
        return write

    return take if write is None else take(write)


def each(stem: str, cases: Mapping[str, Write], *, heavy: bool = False) -> None:
    """Take in several cases at once."""
    _CASES.extend(Case(f"{stem}-{name}", write, heavy) for name, write in cases.items())


@cache
def cases() -> Mapping[str, Case]:
    for name in MODULES:
        import_module(f"{__name__}.{name}")
    found = {case.name: case for case in _CASES}
    assert len(found) == len(_CASES), "two cases of one name"
    return found


# The project that cases change


def start(folder: Path) -> None:
    """A project of one model, converted from a checkpoint of a few kilobytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ModelBuild.toml").write_text(TOML)
    checkpoints.write(folder / "weights", **SMALL)


def put(folder: Path, name: str, content: str | bytes | Iterable[bytes], *, size: int = 0) -> None:
    """Write a file of the project; with a `size` it goes on with zeros up to there, which take no space."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [content.encode()] if isinstance(content, str) else [content] if isinstance(content, bytes) else content
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        if size:
            file.truncate(size)


def repeated(piece: bytes, count: int, batch: int = 1 << 16) -> Iterable[bytes]:
    """One piece many times over, a megabyte or so at a time."""
    for _ in range(count // batch):
        yield piece * batch
    yield piece * (count % batch)


def change(folder: Path, name: str, **changes: Any) -> None:
    """Change keys of a JSON file of the checkpoint, which need not be there."""
    path = folder / "weights" / name
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**found, **changes}))


def deep(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


# GGUF


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: str, form: str, value: Any) -> bytes:
    return text(key.encode()) + encode_value(form, value)


def head(values: int, tensors: int = 0) -> bytes:
    return gguf.MAGIC + struct.pack("<IQQ", gguf.VERSION, tensors, values)


ARCHITECTURE = pair("general.architecture", "str", "acme") + pair("acme.block_count", "u32", 1)


def import_gguf(folder: Path, name: str = "m.gguf", toml: str = "") -> None:
    """Have the project take a GGUF file as it is."""
    (folder / "ModelBuild.toml").write_text(f'[model.m]\nfrom = "./{name}"\n{toml}')


# tokenizer.json

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def tokenizer(**changes: Any) -> dict[str, Any]:
    """The content of a tokenizer.json of byte pairs; `model` is laid over the model that is there."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    model = {"type": "BPE", "vocab": {c: n for n, c in enumerate(alphabet)}, "merges": [], **changes.pop("model", {})}
    data = {
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": BYTE_LEVEL, "post_processor": None,
        "decoder": BYTE_LEVEL, "model": model,
    }  # fmt: skip
    return {**data, **changes}


def byte_pairs(
    folder: Path, data: Mapping[str, Any] | Iterable[bytes] | None = None, *, pre: str | None = None
) -> None:
    """Have the checkpoint's tokenizer be a tokenizer.json."""
    (folder / "weights/tokenizer.model").unlink(missing_ok=True)
    change(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    content = json.dumps(tokenizer() if data is None else data) if data is None or isinstance(data, dict) else data
    put(folder, "weights/tokenizer.json", content)
    if pre is not None:
        (folder / "ModelBuild.toml").write_text(f'{TOML}pre = "{pre}"\n')
