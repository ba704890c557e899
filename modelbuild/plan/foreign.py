"""Steps that run programs of the user's own: a converter for classes that are not supported, importance matrices, gates."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from modelbuild import tools
from modelbuild.checkpoint import classes
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import class_of
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.observed import Listing, Observed
from modelbuild.plan.declared import Declared
from modelbuild.plan.interpreter import Interpreters
from modelbuild.plan.layers import Base
from modelbuild.plan.placed import in_named
from modelbuild.plan.sides import DRAFT
from modelbuild.plan.weights import CheckpointFolder, WeightsReader
from modelbuild.project.locate import Place
from modelbuild.project.variant import Calibration, File, Variant
from modelbuild.steps import describe, gate, import_, tool, whole
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

OUTTYPES = {"source": "auto", "auto": "auto", "f32": "f32", "f16": "f16", "bf16": "bf16", "q8_0": "q8_0"}
"""Our words for the type of a conversion -> the converter's, which has none for the type of the weights."""

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OTHERS = (
    *_PICKLED, ".safetensors", ".gguf", ".onnx", ".onnx_data", ".h5", ".msgpack", ".ot", ".tflite", ".npz", ".mlmodel",
    ".py", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".mp4", ".zip", ".gz",
)  # fmt: skip
"""Endings of files that a converter is not given, unless they are weights that it is to read, or trusted."""
_DESCRIBED = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
"""Files in which `auto_map` names code of the checkpoint."""

Inputs = Sequence[tuple[str, Source | str]]


class Made(NamedTuple):
    """A recipe by the step that makes it, and the tool's step behind that."""

    recipe: str
    weights: str


class Foreign:
    """Declares these steps; `cache` is the folder where is kept what interpreters said of themselves."""

    def __init__(
        self,
        observed: Observed,
        weights: WeightsReader,
        declared: Declared,
        cache: str | None,
    ) -> None:
        self._observed = observed
        self._weights = weights
        self._declared = declared
        self._interpreters = Interpreters(observed, cache)
        self._classes: dict[str, str | None] = {}

    # Conversion

    def class_of(self, folder: CheckpointFolder) -> str | None:
        """The class of a checkpoint; None where it says none, which is for the conversion to say."""
        if folder.path not in self._classes:
            try:
                data = self._observed.read(os.path.join(folder.path, "config.json"))
                self._classes[folder.path] = class_of(Checkpoint({"config.json": data}.get).config)
            except (Error, OSError):
                self._classes[folder.path] = None
        return self._classes[folder.path]

    def converted(self, variant: Variant, folder: CheckpointFolder) -> Made | None:
        """Have the converter make a GGUF file, and take that apart; None where we convert the checkpoint ourselves.

        Raises Error for a checkpoint of which only the converter could make anything, and may not.
        """
        if not self._is_wanted(variant, folder):
            return None
        files = self._trusted(variant, folder)
        name = folder.name if folder.name.isprintable() else "model"
        options = {"folder": name, "outtype": OUTTYPES[variant.string("outtype") or "source"]}
        inputs = [(f"{tools.INPUT}/{name}/{each}", source) for each, source in files]
        made = self._tool(variant, "converter", "converted", options, inputs)
        recipe = self._declared.step(variant, import_, import_.Parameters(), [("file", made)])
        if pre := variant.string("pre"):
            named = describe.Parameters(metadata={"tokenizer.ggml.pre": pre})
            recipe = self._declared.step(variant, describe, named, [("recipe", recipe)])
        return Made(recipe, made)

    def as_converted(self, folder: CheckpointFolder) -> CheckpointFolder:
        """A checkpoint that the tool converts, with the parts that we make beside it.

        Of a class that we do not read ourselves it is the text model alone. The tool leaves the blocks for the prediction of
        several tokens in that, so that they are no part.
        """
        is_known = folder.fault is None and self._is_native(folder)
        parts = {name: files for name, files in folder.parts.items() if is_known and name != DRAFT}
        return folder._replace(parts=parts)

    def _is_wanted(self, variant: Variant, folder: CheckpointFolder) -> bool:
        """Whether the first of the variant's converters that reads the checkpoint is the tool."""
        for converter in variant.converters if "llama.cpp" in variant.converters else ():
            if converter == "llama.cpp":
                return True
            if folder.fault is None and (variant.string("architecture") or self._is_native(folder)):
                break
        if folder.fault is not None:
            raise in_named(folder.fault, variant.froms[-1], folder.path, folder=True)
        return False

    def _is_native(self, folder: CheckpointFolder) -> bool:
        """Whether we read the class that a checkpoint names, or leave it to the conversion to say that it names none."""
        name = self.class_of(folder)
        return folder.plugin is not None or name is None or name in classes.read()

    def _trusted(self, variant: Variant, folder: CheckpointFolder) -> list[tuple[str, Source]]:
        """The files that the converter is given. Raises Error for what may run code, unless the variant trusts it."""
        place = variant.froms[-1].place
        names = self._names(folder.path)
        weights = [(name, source) for name, source in folder.files if source.is_weights]
        pickled = [name for name in names if name.endswith(_PICKLED)]
        if not weights:
            weights = [(name, self._source(folder, name)) for name in pickled if "/" not in name]
        code = [name for name in names if name.endswith(".py")]
        mapped = [name for name in _DESCRIBED if name in names and self._maps(os.path.join(folder.path, name))]
        if (code or pickled or mapped) and not variant.flag("trust"):
            found = [*code, *pickled, *(f"auto_map in {name}" for name in mapped)]
            raise place.error(
                f"'{folder.name}' contains code of its own, or pickled weights, which the converter would run",
                facts=[("found", listed(found, 6))],
                hint=f"if you trust where it comes from, set it for this model: [model.{variant.model}] trust = true",
            )
        small = [name for name in names if not name.endswith(_OTHERS)]
        small += code
        return [*((name, self._source(folder, name)) for name in small), *weights]

    @staticmethod
    def _source(folder: CheckpointFolder, name: str) -> Source:
        return Source(os.path.join(folder.path, *name.split("/")), "bytes")

    def _names(self, folder: str) -> list[str]:
        """The files of a folder and of those in it, but hidden ones."""
        found = []
        for name, kind, _ in self._entries(folder):
            if kind == "file":
                found.append(name)
            elif name != "__pycache__":
                below = self._entries(os.path.join(folder, name))
                found += [f"{name}/{each}" for each, what, _ in below if what == "file"]
        return found

    def _maps(self, path: str) -> bool:
        try:
            return b'"auto_map"' in self._observed.read(path)
        except OSError:
            return False

    # Importance and quality

    def imatrix(self, variant: Variant, base: Base, said: Calibration) -> str:
        """The step that makes an importance matrix of a model before its quantization."""
        inputs: Inputs = [*self._text(said.text), (f"{tools.MODEL}/model.gguf", self._whole(variant, base))]
        return self._tool(variant, "imatrix", "imatrix", _reading(said.text, said.chunks), inputs)

    def gate(self, variant: Variant, base: Base, model: str) -> str | None:
        """The step that lets the model of a step through, or not; None where the variant asks for none."""
        asked, said = variant.gate, variant.calibration
        if asked is None:
            return None
        text = asked.text or (said.text if said else None)
        place = variant.place("gate", "kld")
        if text is None:
            hint = 'name one: gate = { kld = 0.05, text = "FILE" }'
            raise place.error("the gate has no text to compare on", hint=hint)
        chunks = asked.chunks or (said.chunks if said and asked.text is None else None)
        inputs: Inputs = [*self._text(text), (f"{tools.MODEL}/model.gguf", self._whole(variant, base))]
        logits = self._tool(variant, "logits", "logits", _reading(text, chunks), inputs)
        compared = [(f"{tools.MODEL}/model.gguf", model), (f"{tools.BASE}/logits", logits)]
        figures = self._tool(variant, "divergence", "divergence", {}, compared)
        parameters = gate.Parameters(kld=asked.kld)
        return self._declared.step(variant, gate, parameters, [("figures", figures)], places={"kld": place})

    def _text(self, text: File) -> Inputs:
        if not os.path.basename(text.path).isprintable():
            raise text.place.error(
                "the name of the text contains a control character", hint="give the file another name"
            )
        return [(f"{tools.INPUT}/{os.path.basename(text.path)}", self._weights.file(text))]

    def _whole(self, variant: Variant, base: Base) -> str:
        """The file of a model before its quantization."""
        assert base.measured is not None
        weights = [("weights", base.foreign)] if base.foreign else []
        values = whole.Parameters(operations=self._declared.operations)
        return self._declared.step(variant, whole, values, [("recipe", base.measured), *weights], what="unquantized")

    # Tools

    def _tool(
        self,
        variant: Variant,
        name: str,
        what: str,
        options: Mapping[str, Any],
        inputs: Inputs,
    ) -> str:
        found = tools.get(name)
        closure = self._closure(variant, found)
        files = sorted(closure.files, key=lambda each: (each != closure.main, each))
        roles: list[tuple[str, Source | str]] = [
            (f"{tools.PROGRAM}/{each}", Source(os.path.join(closure.folder, *each.split("/")), "bytes"))
            for each in files
        ]
        values = tool.Parameters(tool=name, version=found.VERSION, options=options)
        if found.SCRIPT:
            python = variant.tools.python
            assert python is not None
            values["answer"] = self._interpreters.answer(python)
            roles.insert(0, (tools.INTERPRETER, Source(python.path, "bytes")))
        return self._declared.step(variant, tool, values, [*roles, *inputs], what=what)

    def _closure(self, variant: Variant, found: tools.Tool) -> tools.Closure:
        """The files of a tool. Raises Error where the project names none, or no whole one."""
        said = variant.tools
        folder = said.llama_cpp if found.SCRIPT else said.binaries or said.llama_cpp
        if folder is None:
            key = "llama_cpp" if found.SCRIPT else "binaries"
            raise _needed(variant, found).error(
                f"[tools] names no folder of {found.TITLE}", hint=f'name it: [tools] {key} = "FOLDER"', value=False
            )
        if found.SCRIPT and said.python is None:
            raise folder.place.error(
                f"[tools] names no interpreter for {found.TITLE}",
                hint='name the Python that has torch and transformers: [tools] python = "FOLDER/bin/python"',
            )
        if found.SCRIPT and said.python is not None and self._observed.kind(said.python.path) != "file":
            raise self._weights.missing(said.python, said.python.path)
        if self._observed.kind(folder.path) != "folder":
            what = f"no such folder: '{folder.text}'"
            raise folder.place.error(what, facts=[("looked at", folder.path)])
        closure = found.closure(folder.path, self._entries)
        if not closure.main:
            hint = None if found.SCRIPT else 'name the folder of the binaries: [tools] binaries = "FOLDER"'
            wanted = "convert_hf_to_gguf.py" if found.SCRIPT else found.TITLE
            raise folder.place.error(f"'{folder.text}' contains no {wanted}", hint=hint)
        return closure

    def _entries(self, folder: str) -> Listing:
        """What a folder contains, but hidden files and those whose names are no text: names are roles of inputs."""
        try:
            return tuple(each for each in self._observed.entries(folder) if each[0].isprintable() and each[0][0] != ".")
        except OSError:
            return ()


def _reading(text: File, chunks: int | None) -> dict[str, Any]:
    """How a text is read: its name goes into what is made."""
    return {"text": os.path.basename(text.path), **({"chunks": chunks} if chunks else {})}


def _needed(variant: Variant, found: tools.Tool) -> Place:
    """The words that ask for a tool."""
    key = "convert" if found.SCRIPT else "imatrix" if variant.calibration else "gate"
    return variant.place(key, "kld" if key == "gate" else None)
