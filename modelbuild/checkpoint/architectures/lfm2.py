"""LFM2 and LFM2.5: most blocks mix a few neighbouring tokens by a short convolution, some have attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures._short_convolution import LOADED, ShortConvolution
from modelbuild.checkpoint.architectures.qwen2 import pooling, unpooled
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, number
from modelbuild.checkpoint.hyperparameters import Writer, blocks_to_list
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json


class Lfm2(ShortConvolution):
    """(llama.cpp conversion/lfm2.py, LFM2Model)"""

    NAME = "lfm2"
    LOADS = f"""
        {LOADED}
        blk.N.ffn_gate            embd ff
        blk.N.ffn_up              embd ff
        blk.N.ffn_down            ff embd
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("Lfm2ForCausalLM",)
    ALIASES: ClassVar[tuple[str, ...]] = ("LFM2ForCausalLM",)
    MODEL_TYPE = "lfm2"
    DEFAULTS = {
        "vocab_size": 65536,
        "hidden_size": 2560,
        "intermediate_size": 12288,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 128000,
        "norm_eps": 1e-5,
        "rope_theta": 1e6,
        "conv_L_cache": 3,
        "block_multiple_of": 256,
        "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True,
    }

    @classmethod
    def takes(cls, config: Config) -> bool:
        """Always: Lfm2Config looks into none of its values."""
        return True

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, Lfm2Config)"""
        config["rope_theta"] = config.get("theta", config["rope_theta"])
        config["intermediate_size"] = config.get("block_ff_dim", config["intermediate_size"])
        if config.get("layer_types") is None:
            blocks, full = blocks_to_list(config), config.get("full_attn_idxs")
            if not isinstance(full, list | None):
                raise Error(f"'full_attn_idxs' expects a list of numbers, got {in_json(full)}", path="config.json")
            config["layer_types"] = ["full_attention" if full is None or n in full else "conv" for n in blocks]
        return config

    def parameters(self, file_type: int) -> Values:
        values = super().parameters(file_type)
        out = Writer(self.NAME, self.config)
        out.put("vocab_size", "u32", number(self.config, "vocab_size"), "vocab_size")
        out.put("shortconv.l_cache", "u32", number(self.config, "conv_L_cache"), "conv_L_cache")
        out.put("feed_forward_length", "u32", self._forward(), "intermediate_size")
        return values | out.values

    def _forward(self) -> int:
        """(LFM2Model._add_feed_forward_length)"""
        config = self.config
        forward = number(config, "block_ff_dim", "intermediate_size")
        if not config.get("block_auto_adjust_ff_dim"):
            return forward
        factor, multiple = config.get("block_ffn_dim_multiplier"), number(config, "block_multiple_of")
        forward = int(2 * forward / 3)
        if factor is not None:
            if type(factor) not in (int, float) or not 0 < factor < 1 << 20:
                raise Error(
                    f"'block_ffn_dim_multiplier' expects a number above 0, got {in_json(factor)}", path="config.json"
                )
            forward = int(factor * forward)
        return multiple * ((forward + multiple - 1) // multiple)


class Lfm2Embeddings(Lfm2):
    """The model without its head, for embeddings (LFM2ColBertModel)."""

    CLASSES = ("Lfm2Model",)
    ALIASES = ()
    MODEL_TYPE = ""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises Error for one with a dense layer, which is in a file of its own."""
        super().__init__(checkpoint)
        if '"1_Dense"' in (checkpoint.text("modules.json") or ""):
            raise Error(
                "a dense layer behind the model is not supported yet for LFM2",
                path="modules.json",
                hint='let your own llama.cpp convert it: convert = ["llama.cpp"], and llama_cpp and python in [tools]',
            )

    def parameters(self, file_type: int) -> Values:
        values, kind = super().parameters(file_type), pooling(self.checkpoint)
        return values if kind is None else values | {f"{self.NAME}.pooling_type": encode_value("u32", kind)}

    def doubts(self) -> Iterator[Error]:
        yield from unpooled(self.checkpoint)


class Lfm2Bidirectional(Lfm2Embeddings):
    """One whose tokens see those after them, too."""

    CLASSES = ("Lfm2BidirectionalModel",)

    def parameters(self, file_type: int) -> Values:
        values, key = super().parameters(file_type), f"{self.NAME}.pooling_type"
        pooled = {key: values.pop(key)} if key in values else {}
        return values | {f"{self.NAME}.attention.causal": encode_value("bool", False)} | pooled
