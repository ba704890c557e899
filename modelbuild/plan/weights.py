"""Weights, read from folders and the headers of files: a checkpoint to convert, or GGUF files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.checkpoint.chat import Chat
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.files import reason, remedy
from modelbuild.observed import Kind, Listing, Observed
from modelbuild.ollama.modelfile.meaning import comment_hint
from modelbuild.plan import given, readers
from modelbuild.plan.away import Away
from modelbuild.plan.gguf_files import GgufFile, GgufFiles
from modelbuild.plan.placed import Named, in_named, unreadable
from modelbuild.project.locate import Place
from modelbuild.project.lock import Pinned
from modelbuild.project.variant import Adapter, File, From
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.checkpoint.architectures import Architecture
    from modelbuild.checkpoint.ggufs import Contents
    from modelbuild.misspelled import Wanted


MODULES = "modules.json"
"""The parts of a model of sentence-transformers, which makes vectors of texts."""

NESTED = 50
"""Folders that are looked into for weights, where a folder has none."""


class CheckpointFolder(NamedTuple):
    """A checkpoint to convert.

    path    of the folder, and its own name
    files   the files that decide the conversion, there or not, by the names they have in the folder
    plugin  name and version of the package that reads its class, where that is none of ours
    chat    the chat template that it brings along
    talks   whether it is a chat model, as far as it says what it is
    kinds   what config.json calls it; nothing of a model that answers with vectors or scores
    parts   what it gives beside its text model, by kind, and the files that decide its conversion
    fault   what is wrong with its weights, where a converter of the user's own may read others

    architecture  the class that it is read as, where the project names one
    """

    path: str
    name: str
    files: tuple[tuple[str, Source], ...]
    plugin: str | None
    chat: Chat | None
    talks: bool
    kinds: tuple[str, ...] = ()
    parts: Mapping[str, tuple[tuple[str, Source], ...]] = {}
    fault: Error | None = None
    architecture: str | None = None


Weights = CheckpointFolder | tuple[GgufFile, ...]
"""GGUF files hold one model between them, and what stands beside it."""


class WeightsReader:
    """Looks into folders and heads, and says what is wrong with them at the words that named them."""

    def __init__(self, observed: Observed, pinned: Mapping[str, Pinned] | None = None) -> None:
        self._observed = observed
        self._away = Away(observed, pinned or {})
        self._chats: dict[str, Chat | None] = {}
        self._known: dict[str, Weights] = {}
        self.ggufs = GgufFiles(observed, self._away)

    def read(self, paths: Sequence[tuple[From, str]]) -> Weights:
        """What FROM lines and the absolute paths that they mean give together. Raises Error."""
        folders = [(line, path) for line, path in paths if self.kind(path) == "folder"]
        if folders and len(paths) > 1:
            raise paths[1][0].place.error(
                "several FROM, and one of them is a folder", hint="name one folder, or only GGUF files"
            )
        if folders:
            line, path = folders[0]
            # What is wrong is said anew at each line that names it.
            if path not in self._known:
                self._known[path] = self._folder(line, path)
            return self._known[path]
        for line, path in paths:
            if path.endswith(".safetensors"):
                raise line.place.error(
                    f"FROM '{line.text}' names one file of a checkpoint",
                    hint=f"name its folder: {os.path.dirname(line.text) or '.'}",
                )
        return self.ggufs.read(sorted(paths, key=lambda each: each[1]))

    def beside(self, role: str, file: Named, path: str) -> Contents:
        """What a GGUF file holds that is named beside the model, as its `adapter`, `projector` or `draft`."""
        if self.kind(path) is None:
            raise self.missing(file, path, role.upper() if file.place.command else None)
        return self.ggufs.beside(role, file, path)

    def kind(self, path: str) -> Kind | None:
        """What stands at a path, or would: a weights file that the lock pins need not be there."""
        return self._away.kind(path)

    def source(self, path: str, form: str) -> Source:
        """A weights file as a source, there or not."""
        return self._away.source(path, form)

    def architecture(self, folder: CheckpointFolder) -> type[Architecture] | None:
        """The one of our classes that reads a checkpoint."""
        from modelbuild.checkpoint import architectures
        from modelbuild.checkpoint.config import class_of

        try:
            config = self._config(folder.path, [name for name, _ in folder.files])
            return architectures.find(class_of(config)) if config is not None else None
        except Error:  # what is wrong is for the conversion to say
            return None

    def file(self, file: File) -> Source:
        """A small file of the user's. Raises Error where there is none."""
        if self.kind(file.path) != "file":
            raise self.missing(file, file.path)
        return self.source(file.path, "bytes")

    def missing(self, named: Named, path: str, instruction: str | None = None) -> Error:
        """The error for a path that leads to nothing, or to a folder where a file is named, in an `instruction` of a Modelfile."""
        where, wanted = "file or folder" if isinstance(named, From | Adapter) else "file", self._wanted(named)
        what = f"no such {where}: '{named.text}'"
        if os.path.isdir(path):
            what = f"'{named.text}' is a folder, expected a file"
        elif os.path.lexists(path):
            leads = os.path.exists(path)
            what = f"'{named.text}' is {'neither a file nor a folder' if leads else 'a link that leads to nothing'}"
        hint = comment_hint(instruction, named.text) if instruction else None
        near = None if hint else self._observed.meant(named.text, named.folder, wanted)
        hint = f"did you mean '{spelled(named, near)}'?" if near else hint
        return named.place.error(what, facts=[("looked at", path)], hint=hint)

    def near(self, line: From) -> str | None:
        """The weights that a FROM names by almost their own name."""
        near = self._observed.meant(line.text, line.folder, self._wanted(line)._replace(loosely=False))
        return spelled(line, near) if near else None

    @staticmethod
    def _wanted(named: Named) -> Wanted:
        from modelbuild import misspelled

        return misspelled.WEIGHTS if isinstance(named, From | Adapter) else misspelled.FILE

    # Folders

    def _folder(self, line: From, path: str) -> Weights:
        folder = self.snapshot(line, path)
        names = self._names(line, folder)
        ggufs = [name for name in names if name.endswith(".gguf")]
        if ggufs and not any(name.endswith(".safetensors") for name in names):
            return self._away.told(folder, ggufs, lambda names: self._in_folder(line, folder, names))
        # What else a folder may hold is known, and said, where its weights are looked for.
        return self._checkpoint(line, folder, names)

    def _in_folder(self, line: From, folder: str, names: Sequence[str]) -> tuple[GgufFile, ...]:
        paths = (os.path.join(folder, name) for name in names if name.endswith(".gguf"))
        return self.ggufs.read([(line, path) for path in sorted(paths)])

    def checkpoint(self, line: From, folder: str, name: str) -> CheckpointFolder:
        """The checkpoint of a folder that goes by another name than its own."""
        return self._checkpoint(line, folder, self._names(line, folder))._replace(name=name)

    def _names(self, line: Named, folder: str) -> list[str]:
        """The files of a folder, with the weights that are not there and that the lock pins."""
        return self._away.names(folder, {name for name, kind, _ in self.entries(line, folder) if kind == "file"})

    def told(self, folder: str, here: Sequence[str], tell: Callable[[Sequence[str]], str]) -> str:
        """What the names of a folder's files tell, with weights that are not there where it takes these."""
        return self._away.told(folder, here, tell)

    def snapshot(self, line: Named, folder: str) -> str:
        """The folder that holds a model's files, also where the Hugging Face cache keeps it."""
        from modelbuild.checkpoint import hf_cache, shards

        self.entries(line, folder)
        if self._observed.kind(folder) is None:
            return folder
        found = folder
        try:
            found = hf_cache.snapshot(folder, self._observed)
            hf_cache.check_links(found, shards.FILES)
        except Error as error:
            # No listing shows links to nothing.
            self._observed.stat(found)
            raise in_named(error, line, folder, folder=True) from error
        except OSError as error:
            raise unreadable(error, line, folder, "folder") from error
        return found

    def entries(self, line: Named, folder: str) -> Listing:
        """What a folder holds. Raises Error."""
        try:
            return self._away.entries(folder)
        except OSError as error:
            raise unreadable(error, line, folder, "folder") from error

    def _checkpoint(self, line: From, folder: str, names: Sequence[str]) -> CheckpointFolder:
        from modelbuild.checkpoint import shards

        nested = [
            f"{sub}/{name}"
            for sub, kind, _ in self.entries(line, folder)
            if kind == "folder" and sub == "additional_chat_templates"
            for name, what, _ in self.entries(line, os.path.join(folder, sub))
            if what == "file"
        ]
        index = os.path.join(folder, shards.INDEX)
        fault: Error | None = None
        try:
            weights = shards.weights(names, self._observed.read(index) if shards.INDEX in names else None, folder)
        except Error as error:
            hint = error.hint or (self._within(line, folder) if shards.INDEX not in names else None)
            fault = error.replace(hint=hint)
            if "config.json" not in names or not any(name.endswith(".bin") for name in names):
                raise in_named(fault, line, folder, folder=True) from error
            weights = []
        except OSError as error:
            raise line.place.error(
                f"cannot be read: {reason(error)}", facts=[("file", index)], hint=remedy(error)
            ) from error
        tables = [(name, self.source(os.path.join(folder, name), "safetensors")) for name in weights]
        files = (*given.small(folder, shards.small([*names, *nested], self._reader(folder, names))), *tables)
        plugin = self._plugin(line, folder, names)
        name, chat = os.path.basename(os.path.abspath(folder)), self.chat(folder, names)
        talks = chat is not None or self._talks(folder, name, names)
        config = self._config(folder, names) if fault is None else None
        parts = self._parts(folder, config, tables, line.place, own=True) if config is not None else {}
        kinds = self._kinds(folder, name, names)
        return CheckpointFolder(folder, name, files, plugin, chat, talks, kinds, parts, fault)

    def _kinds(self, folder: str, name: str, names: Sequence[str]) -> tuple[str, ...]:
        from modelbuild.checkpoint import chat

        config = self._config(folder, names)
        return () if config is None or MODULES in names else chat.kinds(config, name)

    def _parts(
        self, folder: str, config: Mapping[str, Any], tables: Sequence[given.Deciding], place: Place, *, own: bool
    ) -> Mapping[str, tuple[given.Deciding, ...]]:
        """The parts that a checkpoint gives; `own`: as the class that config.json names. Raises Error."""
        from modelbuild.checkpoint import parts, shards

        away = [source.path for _, source in tables if source.known]
        if not away or self._observed.kind(os.path.join(folder, shards.INDEX)) == "file":
            return given.parts(self._observed, folder, config, tables)
        if not (possible := parts.possible(config)):
            return {}
        told = self._away.parts(away) if own else None
        if told is None:
            raise place.error(
                "the weights are not here, and the lock does not say whether they have a projector or a draft",
                facts=[("file", away[0])],
                hint="get the file, or build once with it where the same remote cache is used, and commit the lock",
            )
        return given.of_kinds(folder, [part for part in possible if part in told], tables)

    def read_as(self, folder: CheckpointFolder, class_name: str | None, place: Place) -> CheckpointFolder:
        """A checkpoint with the parts that it has as one of another class; as it is where none is named."""
        from modelbuild.checkpoint.config import as_class

        config = self._config(folder.path, ["config.json"])
        if not class_name or config is None or folder.fault is not None:
            return folder
        tables = [each for each in folder.files if each[1].is_weights]
        found = self._parts(folder.path, as_class(config, class_name), tables, place, own=False)
        return folder._replace(parts=found, architecture=class_name)

    def _within(self, line: From, folder: str) -> str | None:
        """A hint that names a folder of weights in a folder that has none of its own."""
        inside = [name for name, kind, _ in self.entries(line, folder) if kind == "folder"]
        for name in inside[:NESTED]:
            try:
                names = os.listdir(os.path.join(folder, name))
            except OSError:
                continue
            if any(each.endswith((".safetensors", ".gguf")) for each in names):
                return f"did you mean '{spelled(line, os.path.join(line.text, name))}'?"
        return "download the whole folder of the model, or name a GGUF file"

    def _plugin(self, line: From, folder: str, names: Sequence[str]) -> str | None:
        """Name and version of the package that reads a checkpoint of a class that is not among ours."""
        from modelbuild.checkpoint.config import class_of

        try:
            if (config := self._config(folder, names)) is None:
                return None
            class_name = class_of(config)
        except Error:  # what is wrong is for the conversion to say
            return None
        return readers.plugin(self._observed, class_name, line.place)

    def _config(self, folder: str, names: Sequence[str]) -> Mapping[str, Any] | None:
        """The config.json of a checkpoint; None where it cannot be read, which is for the conversion to say."""
        from modelbuild.checkpoint.checkpoint import Checkpoint

        if "config.json" not in names:
            return None
        try:
            return Checkpoint({"config.json": self._observed.read(os.path.join(folder, "config.json"))}.get).config
        except (Error, OSError):
            return None

    def chat(self, folder: str, names: Sequence[str]) -> Chat | None:
        """The chat template of a checkpoint. What is wrong with its files is for the conversion to say."""
        if folder not in self._chats:
            from modelbuild.checkpoint import chat
            from modelbuild.checkpoint.checkpoint import Checkpoint

            try:
                self._chats[folder] = chat.of_checkpoint(Checkpoint(self._reader(folder, names)))
            except (Error, OSError):
                self._chats[folder] = None
        return self._chats[folder]

    def _talks(self, folder: str, name: str, names: Sequence[str]) -> bool:
        from modelbuild.checkpoint import chat
        from modelbuild.checkpoint.checkpoint import Checkpoint

        try:
            return chat.checkpoint_talks(Checkpoint(self._reader(folder, names), folder=name))
        except OSError:
            return True

    def _reader(self, folder: str, names: Sequence[str]) -> Callable[[str], bytes | None]:
        return lambda name: self._observed.read(os.path.join(folder, name)) if name in names else None


def spelled(named: Named, path: str) -> str:
    """A path as it must be written where another one stands: what looks like no path is a model in a `from` of a TOML."""
    if isinstance(named, From) and named.in_toml and not path.startswith((".", "/", "~")):
        return f"./{path}"
    return path
