"""Cohere's Command R7B and Command A: three of four blocks see a window of the text and turn with the position, the fourth sees all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures.cohere import NORMS, PARALLEL, Cohere, scaled_logits, unscaled
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, block_count, layer_types_fit, number, share
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.recipe import Expression


class Cohere2(Architecture):
    """(llama.cpp conversion/command_r.py, Cohere2Model)"""

    NAME = "cohere2"
    LOADS = PARALLEL
    CLASSES = ("Cohere2ForCausalLM",)
    MODEL_TYPE = "cohere2"
    DEFAULTS = {**Cohere.DEFAULTS, "sliding_window": 4096, "sliding_window_pattern": 4, "layer_types": None}
    NAMES = {name: known for name, known in Cohere.NAMES.items() if name not in NORMS}
    BIASES = r"(?!)"
    FREE_HEADS = False
    REQUIRED = Cohere.REQUIRED
    ASKS = ("attention.layer_norm_epsilon", "attention.sliding_window", "logit_scale")

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, Cohere2Config) It counts blocks by the pattern, and fails where that is no number."""
        full = {**cls.DEFAULTS, **config}
        step = full["sliding_window_pattern"]
        counts = full["layer_types"] is not None or (type(step) is int and step != 0)
        return Cohere.takes(config) and counts and layer_types_fit(full)

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Cohere2Config)"""
        heads = number(config, "num_attention_heads")
        if config["num_key_value_heads"] is None:
            config["num_key_value_heads"] = heads
        config.setdefault("head_dim", number(config, "hidden_size") // heads)
        return config

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """(Cohere2Model.set_gguf_parameters) Without `rotary_pct`, which transformers does not write, whole heads turn, as there."""
        config = self.config
        out = Writer(self.NAME, config)
        part = share(config.get("rotary_pct", 1.0), "rotary_pct")
        out.put("attention.sliding_window", "u32", number(config, "sliding_window"), "sliding_window")
        out.put("vocab_size", "u32", number(config, "vocab_size"), "vocab_size")
        turned = int(part * (number(config, "hidden_size") // number(config, "num_attention_heads")))
        out.put("rope.dimension_count", "u32", turned, "rotary_pct")
        return super().parameters(file_type) | scaled_logits(self.NAME, config) | out.values | unscaled(self.NAME)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterable[tuple[str, Expression]]:
        """(Cohere2Model.modify_tensors)"""
        return super().tensors(unbiased(sources, self.checkpoint))

    def doubts(self) -> Iterator[Error]:
        """The runtime knows one order of blocks (llama.cpp src/models/cohere2.cpp), and the file says nothing of it."""
        types, blocks = self.config.get("layer_types"), block_count(self.config)
        step = self.config.get("sliding_window_pattern", 4)
        if isinstance(types, list):
            windowed = [each == "sliding_attention" for each in types]
        else:
            windowed = [bool((block + 1) % step) for block in range(blocks)] if type(step) is int and step > 0 else []
        if windowed and windowed != [bool((block + 1) % 4) for block in range(blocks)]:
            yield Error(
                "llama.cpp's runtime gives every fourth block of such a model the whole text, and the others a window: "
                "this model was trained with another order, and its answers would be wrong",
                path="config.json",
            )


def unbiased(sources: Mapping[str, Expression], checkpoint: Checkpoint) -> dict[str, Expression]:
    """A checkpoint's tensors without biases that are zero everywhere: the runtime knows none."""
    return {name: x for name, x in sources.items() if not name.endswith(".bias") or any(checkpoint.values(name))}
