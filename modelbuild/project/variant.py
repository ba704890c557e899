"""One built name: a model × one row of its matrix, with everything that TOML and Modelfile say about it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from modelbuild.ollama.modelfile.meaning import Modelfile
from modelbuild.ollama.name import Name
from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.overlay import Said
from modelbuild.tuples import NamedTuple


class From(NamedTuple):
    """What a model derives from, as written.

    in_toml  said by `from` in a TOML, where only what looks like a path is one; else by a Modelfile's FROM
    folder   what a relative path starts from
    part     the part of the project in which a model's name is looked for first; "" for the project itself
    """

    text: str
    in_toml: bool
    folder: str
    place: Place
    part: str = ""


def part_of(file: str, folders: Mapping[str, str]) -> str:
    """The part to which a file belongs; "" for the project itself."""
    folder = os.path.dirname(file)
    while folder and folder not in folders:
        folder = os.path.dirname(folder)
    return folders.get(folder, "")


def within(text: str, part: str) -> str:
    """What a FROM asks the project: a name that is looked for in a part first."""
    return f"{part}\t{text}" if part else text


class File(NamedTuple):
    """A file or folder that is named, not yet looked at: its absolute path, the text that named it, and what that starts from."""

    path: str
    text: str
    folder: str
    place: Place


class Adapter(NamedTuple):
    """A file like `File`, its factor, whether it is a layer of its own or merged into the weights, and whether it may change nothing."""

    path: str
    text: str
    folder: str
    scale: float
    mode: str
    place: Place
    allow_zero: bool = False


class ExportTo(NamedTuple):
    """A folder that a model is also written to, as `{ as, path, split, link }` says."""

    shape: str
    folder: File
    split: str
    link: str


class PushTo(NamedTuple):
    """A name in a registry that a model is pushed to, as a string says it, or `{ to, as, split }`; without a shape as Ollama has it."""

    name: Name
    shape: str = ""
    split: str = ""


class Tools(NamedTuple):
    """Programs of the user's own: the folders that [tools] names, and the interpreter of scripts. Nothing else is looked for."""

    llama_cpp: File | None = None
    binaries: File | None = None
    python: File | None = None


class Calibration(NamedTuple):
    """A text, and how many pieces of it are read; None for all of them."""

    text: File
    chunks: int | None


class Gate(NamedTuple):
    """The most that a quantized model may differ from its weights, in nats, and the text by which they are compared, if said."""

    kld: float
    text: File | None
    chunks: int | None


class Variant(NamedTuple):
    """A model × one row of its matrix, ready to be planned.

    label       what targets and errors call it: 'chat', or 'chat:q4_K_M' for a row
    names       the names it is built under; the first is the main one
    values      plain keys and what they come to, of TOML and Modelfile: read by `string`, `flag` and `file`
    froms       FROM lines in order, or the one `from` of the TOML that replaces them
    quantize    canonical ftype, or the name of a mix; None for as it is
    mix         what that mix says, as mixes.read gives it, and mix_table where; `ftype` is what it starts from
    metadata    key -> value, of the GGUF; `default_metadata` are the keys of which [defaults] says it
    parameters  Modelfile's and TOML's, in their own types
    messages    (role, content) pairs; None where nobody gives any, so that a base's stay
    pushes      the names in registries that it is pushed to, and how
    licenses    of the TOML, which replace all inherited ones (`replaces_licenses`), or of the Modelfile, which add to them
    converters  the converters of a checkpoint that are tried, in order
    calibration the text that its importance matrix is made from
    cleared     keys, and `cleared_parameters` parameters, that the TOML empties: what the base gives under them goes too
    """

    model: str
    row: tuple[tuple[str, str], ...]
    label: str
    names: tuple[Name, ...]
    is_default: bool
    values: Mapping[str, str | bool | File | None]
    froms: tuple[From, ...]
    quantize: str | None
    quantize_from_defaults: bool
    mix: Mapping[str, Any] | None
    metadata: Mapping[str, Any]
    default_metadata: frozenset[str]
    parameters: Mapping[str, Any]
    cleared_parameters: frozenset[str]
    messages: tuple[tuple[str, str], ...] | None
    licenses: tuple[str, ...]
    replaces_licenses: bool
    adapters: tuple[Adapter, ...]
    drafts: tuple[File, ...]
    exports: tuple[ExportTo, ...]
    pushes: tuple[PushTo, ...]
    converters: tuple[str, ...]
    calibration: Calibration | None
    gate: Gate | None
    tools: Tools
    cleared: frozenset[str]
    table: Place
    mix_table: Place | None
    said: Mapping[str, Said]
    modelfile: Modelfile | None
    folders: Mapping[str, str] = {}
    """The folders of the project's parts, relative to the project's, and the parts' names."""

    @property
    def ftype(self) -> str | None:
        """The canonical ftype to quantize to: of a mix, its base."""
        return self.mix.get("base") if self.mix is not None else self.quantize

    def string(self, key: str) -> str | None:
        """The string that a plain key comes to, or the text; None for "" and where nobody says it."""
        value = self.values[key]
        assert value is None or isinstance(value, str), f"'{key}' is not a string"
        return value

    def flag(self, key: str) -> bool:
        value = self.values[key]
        assert isinstance(value, bool), f"'{key}' is not a flag"
        return value

    def file(self, key: str) -> File | None:
        """The file that a plain key names; None for "" and where nobody says it."""
        value = self.values[key]
        assert value is None or isinstance(value, File), f"'{key}' is not a path"
        return value

    def place(self, key: str, name: str | None = None) -> Place:
        """Where a key of the variant was said (`place("parameters", "stop")`); where the model was, if nowhere."""
        said = self.said.get(key)
        if said and name and KEYS[key].entries and name in said.value:
            return cast(Place, said.value[name].place)
        if said and not name:
            return said.place
        if self.modelfile:
            place = modelfile_place(self.modelfile, key, name)
            if place:
                return place
        return self.table


def modelfile_place(text: Modelfile, key: str, name: str | None = None) -> Place | None:
    """The last line of a Modelfile that says a key of the TOML."""
    wanted = KEYS[key].command
    for command in reversed(text.commands):
        if command.name == wanted and (not name or command.key == name):
            return Place(text.path, modelfile=text, command=command)
    return None
