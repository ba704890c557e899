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
from typing import Any, ClassVar, TypeVar

from modelbuild import plugins
from modelbuild.checkpoint import classes
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import TEXT_DEFAULTS, TEXT_PARTS, UNREAD, Config, block_count, transformers_takes
from modelbuild.checkpoint.hyperparameters import base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES, is_wanted, rename
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression
from modelbuild.words import listed

Item = TypeVar("Item")


_F32 = (
    ".ffn_gate_inp.weight", ".ffn_gate_inp_shexp.weight", ".ssm_conv1d.weight", ".shortconv.conv.weight", "position_embd.weight",
    "token_types.weight", ".indexer.q_proj.weight", ".indexer.k_proj.weight", ".indexer.proj.weight",
)  # fmt: skip
"""Tensors that are written in f32 whatever the type of the rest."""


class Architecture:
    """One architecture, reading one checkpoint. A file of this folder holds a subclass, which says where it differs.

    NAME        `general.architecture`
    CLASSES     the names in `architectures` of config.json that it reads
    ALIASES     further names, of which llama.cpp's converter reads the same
    MTP         whether its checkpoints may have blocks for the prediction of several tokens, which may go into a file apart (`_mtp`)
    MODEL_TYPE  the `model_type` under which transformers knows its configuration
    DEFAULTS    what transformers 4.57.6 fills in where a configuration of that type lacks a key
    NAMES       stems of the checkpoint's tensors -> stems of GGUF's; N is the number of a block
    QUANTIZED   methods of quantization (`quant_method`) whose tensors it reads as they are stored
    NEEDED      tensors of the file that llama.cpp's runtime asks for besides the weights of NAMES
    OPTIONAL    stems that a model may do without, as a regular expression
    BIASES      stems whose biases its runtime reads, as a regular expression
    EXPERTS_BESIDE  whether its experts stand beside the feed forward of a block, not in its place
    FREE_HEADS  whether its runtime reads heads that are together not as large as hidden_size
    REQUIRED    metadata that its runtime asks for, and the keys of config.json from which it comes
    LOADS       the tensors that its runtime loads, as a table (see `tables`); empty: files of it are not judged
    SHAPES      tensors whose shapes are others than in most models, as a table
    ASKS        metadata that its runtime asks for besides what it asks of every model
    ASKS_BESIDE the same, of keys that do not begin with NAME
    """

    NAME: ClassVar[str]
    CLASSES: ClassVar[tuple[str, ...]] = ()
    ALIASES: ClassVar[tuple[str, ...]] = ()
    MTP: ClassVar[bool] = False
    MODEL_TYPE: ClassVar[str] = ""
    DEFAULTS: ClassVar[Config] = {}
    NAMES: ClassVar[Mapping[str, str]] = NAMES
    QUANTIZED: ClassVar[tuple[str, ...]] = ()
    NEEDED: ClassVar[tuple[str, ...]] = ()
    OPTIONAL: ClassVar[str] = r"output|.*_shexp"
    BIASES: ClassVar[str] = ".*"
    EXPERTS_BESIDE: ClassVar[bool] = False
    FREE_HEADS: ClassVar[bool] = True
    REQUIRED: ClassVar[Mapping[str, str]] = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    }
    LOADS: ClassVar[str] = ""
    SHAPES: ClassVar[str] = ""
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon",)
    ASKS_BESIDE: ClassVar[tuple[str, ...]] = ()

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = complete(checkpoint.config, type(self))

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Whether transformers reads a configuration of this type; the bare file counts where it does not."""
        return transformers_takes(config)

    @classmethod
    def reading(cls, config: Config) -> type[Architecture]:
        """The architecture that reads a configuration of these classes: this one, or one of another name in GGUF."""
        return cls

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """What transformers derives from other keys; `config` has the defaults."""
        return config

    @cached_property
    def tokenizer(self) -> Values:
        """The `tokenizer.*` metadata: SentencePiece where there is a tokenizer.model, else byte pairs."""
        size = tokenizers.vocabulary_size(self.config)
        return tokenizers.sentencepiece(self.checkpoint, size) or tokenizers.byte_pairs(self.checkpoint, size)

    @property
    def blocks(self) -> range:
        """The numbers of the blocks that the file has. Raises Error where config.json does not tell."""
        return range(block_count(self.config))

    def has(self, stem: str, block: int) -> bool:
        """Whether a block has the tensors of a stem, `blk.N.…`, that other blocks have."""
        return True

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        """What the words of SHAPES, and of the shapes of most models, mean in one block: a number, and what of config.json says so.

        Only those that are not what config.json says of every block alike. `block` is 0 for what belongs to none.
        """
        return {}

    def choose(self, tensors: Mapping[str, Item]) -> Mapping[str, Item]:
        """The checkpoint's tensors that the file is made of, of those of a model of text, by the names that `tensors` knows."""
        return tensors

    def doubts(self) -> Iterable[Error]:
        """What is worth a look in a checkpoint without faults, as warnings."""
        return ()

    def preface(self) -> Values:
        """Metadata that stands before `general.type`."""
        return {}

    def parameters(self, file_type: int) -> Values:
        """The hyper-parameters, `general.file_type` among them, in the order of the file."""
        return base_parameters(self.NAME, self.config, file_type)

    def constants(self) -> Mapping[str, bytes]:
        """Tensors of f32 with one dimension that no checkpoint holds, by name; they come first in the file."""
        return {}

    def named(self, source: str) -> str | None:
        """What a model of text calls a checkpoint's tensor; None for one that it does not need (filter_tensors)."""
        return source.replace("language_model.", "") if is_wanted(source) else None

    def tensors(self, sources: Mapping[str, Expression]) -> Iterable[tuple[str, Expression]]:
        """The tensors of the file, before they get their final type, in its order.

        sources  the checkpoint's tensors in their order, without those that no model of text needs
        """
        for source, x in sources.items():
            yield self.rename(source), x

    def keeps_f32(self, name: str) -> bool:
        """Whether a matrix of the file is written in f32, whatever the type of the rest."""
        return name.endswith(_F32)

    def rename(self, source: str) -> str:
        """The GGUF name of a checkpoint's tensor. Raises Error for one that stands for nothing."""
        return rename(source, self.NAMES, self.blocks.stop)


def readers() -> dict[str, type[Architecture]]:
    """Class -> the architecture among ours that reads checkpoints of it."""
    own = {each: vars(each) for each in known()}
    # Inherited names are those of the class above.
    return {name: each for each, said in own.items() for key in ("CLASSES", "ALIASES") for name in said.get(key, ())}


def find(class_name: str, package: str | None = None, model_type: object = None) -> type[Architecture]:
    """The architecture that reads checkpoints of a class. Raises Error for one that no file reads.

    package     name and version of the package that brings one from outside, for a class that is not among ours
    model_type  what config.json says beside the class, from which the error tells what it might be
    """
    found = readers()
    if class_name not in found:
        if package is not None:
            return _from_outside(class_name, package)
        near = _of_type(model_type) or classes.nearest(class_name)
        convert = (
            'let your own llama.cpp convert it: convert = ["native", "llama.cpp"], and llama_cpp and python in [tools]'
        )
        raise Error(
            f"architecture '{class_name}' is not supported yet",
            path="config.json",
            facts=[("nearest", near) if near else ("known", listed(sorted(found), len(found)))],
            hint=f'if it is the same, set architecture = "{near}"; else {convert}' if near else convert,
        )
    return found[class_name]


def _of_type(model_type: object) -> str | None:
    """The class of checkpoints of a `model_type`."""
    return next((each.CLASSES[0] for each in known() if each.CLASSES and model_type == each.MODEL_TYPE), None)


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
    for key in TEXT_PARTS:
        part = whole.get(key)
        if isinstance(part, dict) and str(whole.get("model_type")) in UNREAD:
            return {**whole, **part}
        if isinstance(part, dict):
            usual = TEXT_DEFAULTS.get(str(whole.get("model_type")), {})
            return {**whole, **_filled({**usual, **part}, reader)}
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
