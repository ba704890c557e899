"""What adapters are, told from folders and the heads of files: a GGUF file to take, or files to make one of."""

from __future__ import annotations

import os

from modelbuild import bounded_json
from modelbuild.checkpoint.adapters import files as adapter_files
from modelbuild.checkpoint.chat import Chat
from modelbuild.checkpoint.checkpoint import parse_json
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.files import first_bytes, reason
from modelbuild.observed import Observed
from modelbuild.plan.declared import Declared
from modelbuild.plan.layers import Base
from modelbuild.plan.placed import in_named
from modelbuild.plan.weights import WeightsReader
from modelbuild.project.variant import Adapter, Variant
from modelbuild.steps import adapt, graft, merge
from modelbuild.tuples import NamedTuple


class AdapterFiles(NamedTuple):
    """The files of an adapter by the roles that a step knows them by.

    folder  its folder's name
    tokens  the files of a tokenizer beside it
    """

    folder: str
    files: tuple[tuple[str, Source], ...]
    is_gguf: bool
    tokens: tuple[tuple[str, Source], ...] = ()


class Adapters:
    """Looks into the folders and heads of adapters, and declares what is made of them; says what is wrong at their words."""

    def __init__(self, observed: Observed, weights: WeightsReader, declared: Declared) -> None:
        self._observed = observed
        self._weights = weights
        self._declared = declared

    def layer(self, variant: Variant, base: Base, adapter: Adapter) -> tuple[str, Source | None]:
        """The step that makes the recipe of an adapter's file for a model, and the file where it is taken as it is."""
        found, recipe = self.read(adapter), base.recipe
        if recipe is None:
            raise adapter.place.error(f"'{variant.label}' has no model file that the adapter could be for")
        if found.is_gguf and adapter.scale == 1:
            file = found.files[0][1]
            return self.of_gguf(variant, recipe, file, allow_zero=adapter.allow_zero), file
        outtype = variant.string("outtype") or "source"
        values = adapt.Parameters(
            folder=found.folder, outtype=outtype, scale=adapter.scale, allow_zero=adapter.allow_zero or None
        )
        tokenizer: tuple[tuple[str, Source], ...] = ()
        if self._has_phrase(found):
            of_base = tuple((name, source) for name, source in base.files if name in adapter_files.TOKENS)
            tokenizer = found.tokens if adapter_files.TOKENIZER in dict(found.tokens) else of_base
        return self._declared.step(variant, adapt, values, [("recipe", recipe), *found.files, *tokenizer]), None

    def _has_phrase(self, found: AdapterFiles) -> bool:
        """Whether an adapter says by a text alone what switches it on. What is wrong with its file is for its step to say."""
        if found.is_gguf:
            return False
        path = dict(found.files)[adapter_files.CONFIG].path
        try:
            config = parse_json(bounded_json.text(self._observed.read(path), path), path)
        except (Error, OSError):
            return False
        return bool(config.get("invocation_string")) and not config.get("alora_invocation_tokens")

    def of_gguf(self, variant: Variant, recipe: str, file: Source, *, allow_zero: bool = False) -> str:
        """The step that looks into a GGUF file that is a layer as it is."""
        values = adapt.Parameters(folder="", outtype="source", scale=1.0, allow_zero=allow_zero or None)
        return self._declared.step(variant, adapt, values, [("recipe", recipe), (adapter_files.GGUF, file)])

    def merged(
        self, variant: Variant, recipe: str | None, adapter: Adapter, mtp: str | None, *, unpacked: bool = False
    ) -> str:
        """The step that merges an adapter into the model of a recipe, which is quantized after that where it is `unpacked`.

        `mtp` says which part of the adapter counts, as the parameters of the step do.
        """
        found = self.read(adapter)
        if recipe is None:
            raise adapter.place.error(f"'{variant.label}' has no model file that the adapter could be merged into")
        requantize = variant.flag("allow_requantize") or None
        values = merge.Parameters(
            scale=adapter.scale,
            requantize=requantize,
            unpacked=unpacked or None,
            allow_zero=adapter.allow_zero or None,
            mtp=mtp,
        )
        inputs: list[tuple[str, Source | str]] = [("recipe", recipe), *found.files, *found.tokens]
        what = "merge-draft" if mtp == "only" else ""
        return self._declared.step(variant, merge, values, inputs, what=what, places={"requantize": adapter.place})

    def grafted(self, variant: Variant, checkpoint: str, adapter: Adapter) -> str:
        """The step that merges an adapter into a checkpoint by its own names."""
        found, values = self.read(adapter), graft.Parameters(scale=adapter.scale)
        inputs: list[tuple[str, Source | str]] = [("checkpoint", checkpoint), *found.files, *found.tokens]
        return self._declared.step(variant, graft, values, inputs)

    def chat(self, variant: Variant) -> Chat | None:
        """The chat template that an adapter of a variant brings along, the last one's."""
        for adapter in reversed(variant.adapters):
            tokens = self.read(adapter).tokens
            names = [name for name, _ in tokens]
            if tokens and (found := self._weights.chat(os.path.dirname(tokens[0][1].path), names)) is not None:
                return found
        return None

    def read(self, adapter: Adapter) -> AdapterFiles:
        """What the path of an adapter means. Raises Error."""
        path = adapter.path
        kind = self._weights.kind(path)
        if kind is None:
            raise self._weights.missing(adapter, path, "ADAPTER" if adapter.place.command else None)
        if kind == "folder":
            path = self._in_folder(adapter, self._weights.snapshot(adapter, path))
        if self._is_gguf(adapter, path):
            self._weights.beside("adapter", adapter, path)
            return AdapterFiles("", ((adapter_files.GGUF, self._weights.source(path, "gguf")),), True)
        folder, name = os.path.split(path)
        if not name.endswith(".safetensors"):
            raise self._other(adapter, folder, name)
        if adapter_files.is_part(name):
            raise in_named(adapter_files.in_parts(name), adapter, path)
        small = (
            (each, Source(os.path.join(folder, each), "bytes")) for each in (adapter_files.CONFIG, adapter_files.CARD)
        )
        here = {each for each, kind, _ in self._weights.entries(adapter, folder) if kind == "file"}
        beside = tuple(
            (each, Source(os.path.join(folder, each), "bytes")) for each in adapter_files.TOKENS if each in here
        )
        # A model's folder may hold the adapter as well: its tokenizer is the model's then.
        tokens = beside if "config.json" not in here else ()
        return AdapterFiles(
            os.path.basename(folder), ((name, self._weights.source(path, "safetensors")), *small), False, tokens
        )

    def _in_folder(self, adapter: Adapter, folder: str) -> str:
        entries = self._weights.entries(adapter, folder)
        names, folders = ([name for name, kind, _ in entries if kind == wanted] for wanted in ("file", "folder"))
        shown = adapter.text.rstrip("/") or "/"
        try:
            found = self._weights.told(folder, names, lambda names: adapter_files.weights(names, folders, shown))
            return os.path.join(folder, found)
        except Error as error:
            raise in_named(error, adapter, folder, folder=True) from error

    def _is_gguf(self, adapter: Adapter, path: str) -> bool:
        if self._weights.source(path, "gguf").known:
            return True
        if self._observed.kind(path) is None:
            return False
        try:
            self._observed.stat(path)
            return first_bytes(path, 4) == b"GGUF" or path.endswith(".gguf")
        except OSError as error:
            raise adapter.place.error(
                f"'{adapter.text}' cannot be read: {reason(error)}", facts=[("file", path)]
            ) from error

    @staticmethod
    def _other(adapter: Adapter, folder: str, name: str) -> Error:
        """What a file is that is neither GGUF nor safetensors."""
        if name == adapter_files.CONFIG:
            return adapter.place.error(
                f"'{adapter.text}' is the adapter's configuration",
                hint=f"name its folder: {os.path.dirname(adapter.text) or '.'}",
            )
        return adapter.place.error(
            f"'{adapter.text}' is not an adapter: expected a folder, a safetensors file or a GGUF file",
            facts=[("file", os.path.join(folder, name))],
            hint=adapter_files.hint_to_rewrite(folder, name),
        )
