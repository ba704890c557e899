"""Architectures: which checkpoints are read, and what GGUF metadata and tensors come of them.

An architecture is the file named after it: a subclass of `Architecture`. What many of them share stands beside this folder, in `config`,
`hyperparameters` and `tensor_names`.
Source: llama.cpp conversion/base.py (TextModel), read for the release that llama-cpp-python 0.3.36 carries.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from typing import Any, ClassVar

from modelbuild import plugins
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, block_count, transformers_takes
from modelbuild.checkpoint.hyperparameters import base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES, rename
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression
from modelbuild.words import listed


class Architecture:
    """One architecture, reading one checkpoint. A file of this folder holds a subclass, which says where it differs.

    NAME        `general.architecture`
    CLASSES     the names in `architectures` of config.json that it reads
    MODEL_TYPE  the `model_type` under which transformers knows its configuration
    DEFAULTS    what transformers 4.57.6 fills in where a configuration of that type lacks a key
    NAMES       stems of the checkpoint's tensors -> stems of GGUF's; N is the number of a block
    QUANTIZED   methods of quantization (`quant_method`) whose tensors it reads as they are stored
    NEEDED      tensors of the file that llama.cpp's runtime asks for besides the weights of NAMES
    BIASES      stems whose biases its runtime reads, as a regular expression
    FREE_HEADS  whether its runtime reads heads that are together not as large as hidden_size
    REQUIRED    metadata that its runtime asks for, and the keys of config.json from which it comes
    LOADS       the tensors that its runtime loads, as a table (see `tables`); empty: files of it are not judged
    ASKS        metadata that its runtime asks for besides what it asks of every model
    """

    NAME: ClassVar[str]
    CLASSES: ClassVar[tuple[str, ...]] = ()
    MODEL_TYPE: ClassVar[str] = ""
    DEFAULTS: ClassVar[Config] = {}
    NAMES: ClassVar[Mapping[str, str]] = NAMES
    QUANTIZED: ClassVar[tuple[str, ...]] = ()
    NEEDED: ClassVar[tuple[str, ...]] = ()
    BIASES: ClassVar[str] = ".*"
    FREE_HEADS: ClassVar[bool] = True
    REQUIRED: ClassVar[Mapping[str, str]] = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    }
    LOADS: ClassVar[str] = ""
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon",)

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = complete(checkpoint.config, type(self))

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Whether transformers reads a configuration of this type; the bare file counts where it does not."""
        return transformers_takes(config)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """What transformers derives from other keys; `config` has the defaults."""
        return config

    @cached_property
    def tokenizer(self) -> Values:
        """The `tokenizer.*` metadata: SentencePiece where there is a tokenizer.model, else byte pairs."""
        size = tokenizers.vocabulary_size(self.config)
        return tokenizers.sentencepiece(self.checkpoint, size) or tokenizers.byte_pairs(self.checkpoint, size)

    def preface(self) -> Values:
        """Metadata that stands before `general.type`."""
        return {}

    def parameters(self, file_type: int) -> Values:
        """The hyper-parameters, `general.file_type` among them, in the order of the file."""
        return base_parameters(self.NAME, self.config, file_type)

    def constants(self) -> Mapping[str, bytes]:
        """Tensors of f32 with one dimension that no checkpoint holds, by name; they come first in the file."""
        return {}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterable[tuple[str, Expression]]:
        """The tensors of the file, before they get their final type, in its order.

        sources  the checkpoint's tensors in their order, without those that no model of text needs
        """
        for source, x in sources.items():
            yield self.rename(source), x

    def rename(self, source: str) -> str:
        """The GGUF name of a checkpoint's tensor. Raises Error for one that stands for nothing."""
        return rename(source, self.NAMES, block_count(self.config))


def readers() -> dict[str, type[Architecture]]:
    """Class -> the architecture among ours that reads checkpoints of it."""
    return {name: each for each in known() for name in each.CLASSES}


def find(class_name: str, package: str | None = None) -> type[Architecture]:
    """The architecture that reads checkpoints of a class. Raises Error for one that no file reads.

    package  name and version of the package that brings one from outside, for a class that is not among ours
    """
    found = readers()
    if class_name not in found:
        if package is not None:
            return _from_outside(class_name, package)
        raise Error(
            f"architecture '{class_name}' is not supported yet",
            path="config.json",
            facts=[("known", listed(sorted(found), len(found)))],
            hint="let your own llama.cpp convert it: "
            '[defaults] convert = ["native", "llama.cpp"], [tools] llama_cpp = "FOLDER", python = "PYTHON"',
        )
    return found[class_name]


def _from_outside(class_name: str, package: str) -> type[Architecture]:
    plugin = plugins.find(plugins.ARCHITECTURES, class_name)
    if plugin is None or plugin.package != package:
        got = "is not installed" if plugin is None else f"was expected, got '{plugin.package}'"
        raise Error(f"the package '{package}', which reads '{class_name}', {got}", path="config.json")
    loaded = plugin.load()
    if not isinstance(loaded, type) or not issubclass(loaded, Architecture) or not hasattr(loaded, "NAME"):
        raise Error(
            f"'{class_name}' of the package '{package}' expects a subclass of Architecture with a NAME, got {loaded!r}"
        )
    return loaded


@cache
def known() -> tuple[type[Architecture], ...]:
    """Those that the files of this folder hold."""
    files = sorted(name[:-3] for name in os.listdir(os.path.dirname(__file__)) if name.endswith(".py"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in files if not name.startswith("_")]
    return tuple(
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Architecture) and value.__module__ == module.__name__
    )


def complete(config: Config, reader: type[Architecture] = Architecture) -> Config:
    """The configuration as the converter sees it: filled in as transformers does, the text model's part over the rest.

    reader  the architecture that asks, which need not be among ours
    Source: load_hparams, TextModel.__init__
    """
    whole = _filled(config, reader)
    for key in ("llm_config", "lm_config", "language_config", "text_config"):
        part = whole.get(key)
        if isinstance(part, dict):
            return {**whole, **_filled(part, reader)}
    return whole


def _filled(config: Config, reader: type[Architecture]) -> Config:
    model_type = config.get("model_type")
    owner = next((each for each in (*known(), reader) if model_type and model_type == each.MODEL_TYPE), None)
    if owner is None or not owner.takes(config):
        return config
    full = owner.fill({**owner.DEFAULTS, **config})
    scaling = full.get("rope_scaling")
    if isinstance(scaling, dict) and "type" in scaling:
        full["rope_scaling"] = {**scaling, "rope_type": scaling["type"]}
    return full
