"""A finished model as shapes see it, and the files that they make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from modelbuild.checkpoint.chat import Answers
from modelbuild.errors import Error
from modelbuild.ollama.modelfile.grammar import Command
from modelbuild.ollama.name import Name
from modelbuild.tuples import NamedTuple
from modelbuild.words import plural

AHEAD = "sha256:" + "0" * 64
"""The digest of what is not made yet: shapes are asked for the names of files before the work, too."""


class Copy(NamedTuple):
    """The bytes of an artifact, by its digest."""

    digest: str
    size: int


class Range(NamedTuple):
    """Some bytes of an artifact."""

    digest: str
    offset: int
    length: int


class Spliced(NamedTuple):
    """A file that is put together of bytes and of ranges of artifacts; its digest is taken for shapes that name it."""

    pieces: tuple[bytes | Range, ...]
    digest: str = AHEAD

    @property
    def size(self) -> int:
        return sum(len(each) if isinstance(each, bytes) else each.length for each in self.pieces)


class Text(NamedTuple):
    """Bytes that a shape writes itself; `certain` if they are known before the models are made."""

    data: bytes
    certain: bool = True

    @property
    def size(self) -> int:
        return len(self.data)


Content = Copy | Spliced | Text


class Entry(NamedTuple):
    """A file of an export.

    path   in the folder of the export, with '/'
    label  of the model that it belongs to; "" for what all of them have in common
    opens  whether a reader begins with it: such a file comes last, and goes first
    """

    path: str
    content: Content
    label: str = ""
    opens: bool = False


@dataclass(frozen=True)
class Layer:
    """A layer of a model, or its config.

    kind   the last word of the media type: `model`, `projector`, `params`
    text   of a small layer
    parts  of a large one that is to be split: its parts in order
    """

    kind: str
    media_type: str
    digest: str = AHEAD
    size: int = 0
    text: str | None = None
    parts: tuple[Copy | Spliced, ...] = ()

    @property
    def copy(self) -> Copy:
        return Copy(self.digest, self.size)

    @property
    def files(self) -> tuple[Copy | Spliced, ...]:
        """The files that it becomes: itself, or its parts."""
        return self.parts or (self.copy,)


@dataclass(frozen=True)
class Finished:
    """A finished model, or one that is still to be made: then it has no manifest, and its digests are those of nothing.

    label       the variant's
    stem        what its files are called in this export, without an ending; no other model's are called so
    ftype       llama.cpp's name of the file's type, `Q4_K_M`; that of a mix as the project calls it
    layers      in the order of the manifest
    config      the config's layer; `text` is its JSON
    manifest    the bytes of Ollama's manifest
    commands    those of its Modelfile, but FROM, ADAPTER and DRAFT
    parameters  that a server gives it by default
    metadata    `general.*` of its GGUF, single values and lists of texts
    history     how it was made, a phrase for each step
    checkpoint  where the shape wants one: path -> content of its files
    predicts    whether the file of the model has blocks for the prediction of several tokens
    answers     what it makes of a text, as far as its GGUF says so
    """

    label: str
    name: Name
    stem: str
    ftype: str
    layers: tuple[Layer, ...]
    config: Layer
    manifest: bytes = b""
    commands: tuple[Command, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[str, ...] = ()
    checkpoint: Mapping[str, Content] = field(default_factory=dict)
    answers: Answers = "text"
    predicts: bool = False

    @property
    def is_made(self) -> bool:
        return bool(self.manifest)

    def of(self, *kinds: str) -> Iterator[Layer]:
        """The layers of some kinds."""
        return (layer for layer in self.layers if layer.kind in kinds)

    @property
    def model(self) -> Layer:
        """The layer of the model itself. Raises Error where there is none."""
        found = next(self.of("model"), None)
        if found is None:
            raise Error(f"'{self.label}' has no model to export")
        return found

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the config says: model_family, model_type, file_type; empty before the model is made."""
        found = json.loads(self.config.text) if self.config.text else {}
        return found if isinstance(found, dict) else {}

    def encode(self) -> bytes:
        """The model as it is kept for the next export to the same folder; contents stay behind, but for their sizes."""
        found = asdict(self) | {"manifest": self.manifest.decode("utf-8", "replace"), "checkpoint": {}}
        for layer, made in zip(found["layers"], self.layers, strict=True):
            layer["parts"] = [[each.digest, each.size] for each in made.parts]
        found["checkpoint"] = {path: content.size for path, content in self.checkpoint.items()}
        return json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass")

    @staticmethod
    def decode(data: bytes) -> Finished:
        """Read what `encode` wrote."""
        value = json.loads(data)
        layers = [Layer(**{**each, "parts": tuple(Copy(*part) for part in each["parts"])}) for each in value["layers"]]
        return Finished(
            **{
                **value,
                "name": Name(*value["name"]),
                "layers": tuple(layers),
                "config": Layer(**{**value["config"], "parts": ()}),
                "manifest": value["manifest"].encode(),
                "commands": tuple(Command(*each) for each in value["commands"]),
                "history": tuple(value["history"]),
                "checkpoint": {path: Copy(AHEAD, size) for path, size in value["checkpoint"].items()},
            }
        )


GGUFS = {"model": "", "projector": "mmproj", "adapter": "adapter", "draft": "draft"}
"""Kind of a layer that is a GGUF -> what its file is called after."""


def part_names(stem: str, layer: Layer, suffix: str = ".gguf") -> list[str]:
    """The name of each file that a layer becomes (llama.cpp, llama_split_path)."""
    count = len(layer.files)
    if count == 1:
        return [stem + suffix]
    return [f"{stem}-{number + 1:05}-of-{count:05}{suffix}" for number in range(count)]


def entries(folder: str, stem: str, layer: Layer, label: str) -> Iterator[Entry]:
    """The files of a layer: of a split one the first part last, since a reader opens that one."""
    named = list(zip(part_names(stem, layer), layer.files, strict=True))
    for name, content in named[1:]:
        yield Entry(folder + name, content, label)
    yield Entry(folder + named[0][0], named[0][1], label, opens=len(named) > 1)


def numbered(model: Finished, kinds: Sequence[str]) -> Iterator[tuple[Layer, str]]:
    """The layers of some kinds, each with a number where there are several of its kind: '', or '1', '2'."""
    for kind in kinds:
        found = list(model.of(kind))
        for number, layer in enumerate(found, 1):
            yield layer, str(number) if len(found) > 1 else ""


def refuse(model: Finished, runner: str, kinds: Mapping[str, str]) -> None:
    """Raise an Error for layers that a runner does not read; `kinds` are these, and what to do instead."""
    for kind, hint in kinds.items():
        if found := list(model.of(kind)):
            what = f"'{model.label}' has {plural(len(found), kind)} besides its model, which {runner} does not read"
            raise Error(what, hint=hint)


MERGE = 'merge it into the weights: adapter_mode = "merge"; or export `--as folder`'
"""What to do with an adapter beside a model that a runner does not read."""
