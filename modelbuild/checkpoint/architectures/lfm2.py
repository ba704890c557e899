"""LFM2 and LFM2.5: most blocks mix a few neighbouring tokens by a short convolution, some have attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import OUTPUT
from modelbuild.checkpoint.architectures.qwen2 import pooling
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, block_count, number
from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

LOADED = f"""
    token_embd                        embd vocab
    token_embd_norm                   embd
    {OUTPUT}
    blk.N.attn_norm                   embd
    blk.N.ffn_norm                    embd
    attention blk.N.qkv               embd keys values
    attention blk.N.attn_output       embd embd
    attention blk.N.attn_q_norm       head
    attention blk.N.attn_k_norm       head
    recurrent blk.N.shortconv.conv        conv embd
    recurrent blk.N.shortconv.in_proj     embd 3*embd
    recurrent blk.N.shortconv.out_proj    embd embd
"""
"""Lines of LOADS (src/models/lfm2.cpp)."""

_MIXING = ("attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm")


class ShortConvolution(Architecture):
    """A mixin: what models with short convolutions have in common."""

    NAMES: ClassVar[Mapping[str, str]] = {
        "embed_tokens": "token_embd",
        "embedding_norm": "token_embd_norm",
        "lm_head": "output",
        "layers.N.operator_norm": "blk.N.attn_norm",
        "layers.N.ffn_norm": "blk.N.ffn_norm",
        "layers.N.self_attn.q_proj": "blk.N.attn_q",
        "layers.N.self_attn.k_proj": "blk.N.attn_k",
        "layers.N.self_attn.v_proj": "blk.N.attn_v",
        "layers.N.self_attn.out_proj": "blk.N.attn_output",
        "layers.N.self_attn.q_layernorm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_layernorm": "blk.N.attn_k_norm",
        "layers.N.conv.conv": "blk.N.shortconv.conv",
        "layers.N.conv.in_proj": "blk.N.shortconv.in_proj",
        "layers.N.conv.out_proj": "blk.N.shortconv.out_proj",
        "layers.N.feed_forward.w1": "blk.N.ffn_gate",
        "layers.N.feed_forward.w2": "blk.N.ffn_down",
        "layers.N.feed_forward.w3": "blk.N.ffn_up",
    }
    SHAPES = """
        token_embd_norm               embd
        blk.N.shortconv.conv          conv embd
        blk.N.shortconv.in_proj       embd 3*embd
        blk.N.shortconv.out_proj      embd embd
    """
    BIASES = r"blk\.N\.attn_(q|k|v|qkv)"
    FREE_HEADS = False
    REQUIRED = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_rms_epsilon": "norm_eps",
    }
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon", "shortconv.l_cache")

    @property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def attends(self, kind: object) -> bool:
        """Whether a block of a kind, of `layer_types`, has attention."""
        return kind != "conv"

    def kinds(self) -> list[bool]:
        """Whether each block has attention."""
        types, count = self.config.get("layer_types"), block_count(self.config)
        if not isinstance(types, list) or len(types) != count:
            got = f"a list of {len(types)}" if isinstance(types, list) else in_json(types)
            raise Error(
                f"'layer_types' expects a list with one text for each of {count} blocks, got {got}", path="config.json"
            )
        return [self.attends(kind) for kind in types]

    def has(self, stem: str, block: int) -> bool:
        name = stem.removeprefix("blk.N.")
        if name.startswith("shortconv."):
            return not self.kinds()[block]
        return name not in _MIXING or self.kinds()[block]

    def parameters(self, file_type: int) -> Values:
        """Heads of keys for each block, none where there is no attention (LFM2Model.set_gguf_parameters)."""
        values = base_parameters(self.NAME, self.config, file_type)
        heads = number(self.config, "num_key_value_heads")
        shared = [heads if attends else 0 for attends in self.kinds()]
        return values | {f"{self.NAME}.attention.head_count_kv": encode_value("[i32]", shared)}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """The runtime's convolution wants a matrix (LFM2Model.modify_tensors)."""
        for source, x in sources.items():
            if "conv.conv" in source and source.endswith(".weight"):
                if len(x.shape) != 3 or x.shape[1] != 1:
                    raise Error(f"tensor '{source}' expects [rows, 1, columns], got {list(x.shape)}")
                x = reshape(x, (x.shape[0], x.shape[2]))
            yield self.rename(source), x


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
            blocks, full = range(number(config, "num_hidden_layers")), config.get("full_attn_idxs")
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
                hint="convert it with llama.cpp's convert_hf_to_gguf.py, and name the GGUF file in FROM",
            )

    def parameters(self, file_type: int) -> Values:
        values, kind = super().parameters(file_type), pooling(self.checkpoint)
        return values if kind is None else values | {f"{self.NAME}.pooling_type": encode_value("u32", kind)}


class Lfm2Bidirectional(Lfm2Embeddings):
    """One whose tokens see those after them, too."""

    CLASSES = ("Lfm2BidirectionalModel",)

    def parameters(self, file_type: int) -> Values:
        values, key = super().parameters(file_type), f"{self.NAME}.pooling_type"
        pooled = {key: values.pop(key)} if key in values else {}
        return values | {f"{self.NAME}.attention.causal": encode_value("bool", False)} | pooled
