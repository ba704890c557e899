"""Nomic's encoders: rotary positions, and gates or, in every other block, experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures._bert import EMBEDDINGS, NORMED, Encoder
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import unigram as unigrams
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.checkpoint.tokenizers.fast import FILE
from modelbuild.checkpoint.tokenizers.wordpiece import word_pieces
from modelbuild.errors import Error
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

EXPERTS = "mlp.experts.mlp"

LENGTHS = {8192: 2048, 2048: 512}
"""Positions that a model may have -> tokens of the texts that it was trained with."""


class NomicBert(Encoder):
    NAME = "nomic-bert"
    LOADS = f"""
        {NORMED}
        token_types?              embd types
        blk.N.attn_output.bias?   embd
        blk.N.ffn_up              embd ff
        blk.N.ffn_up.bias?        ff
        blk.N.ffn_gate            embd ff
        blk.N.ffn_down            ff embd
        blk.N.ffn_down.bias?      embd
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("NomicBertModel",)
    NAMES = {
        **{name: known for name, known in EMBEDDINGS.items() if known in ("token_embd", "token_types")},
        "emb_ln": "token_embd_norm",
        "encoder.layers.N.attn.Wqkv": "blk.N.attn_qkv",
        "encoder.layers.N.attn.out_proj": "blk.N.attn_output",
        "encoder.layers.N.norm1": "blk.N.attn_output_norm",
        "encoder.layers.N.mlp.fc11": "blk.N.ffn_up",
        "encoder.layers.N.mlp.fc12": "blk.N.ffn_gate",
        "encoder.layers.N.mlp.fc2": "blk.N.ffn_down",
        "encoder.layers.N.norm2": "blk.N.layer_output_norm",
    }
    BIASES = r"token_embd_norm|blk\.N\.(attn_output|attn_qkv|attn_output_norm|layer_output_norm|ffn_up|ffn_down)"
    REQUIRED = {
        "context_length": "n_positions",
        "embedding_length": "n_embd",
        "attention.head_count": "n_head",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    }
    ACTIVATION: ClassVar[str] = "swiglu"
    BIASED: ClassVar[bool] = False

    @classmethod
    def reading(cls, config: Config) -> type[NomicBert]:
        """(NomicBertModel.__init__)"""
        return NomicBertMoe if config.get("moe_every_n_layers") else cls

    def __init__(self, checkpoint: Checkpoint) -> None:
        """(NomicBertModel.__init__) A text is as long as those of the training were."""
        super().__init__(checkpoint)
        self._positions = self.config.get("n_positions")
        config = dict(self.config)
        if type(self._positions) is int and self._positions in LENGTHS:
            config["n_positions"] = LENGTHS[self._positions]
        pad = config.get("pad_token_id")
        if "max_position_embeddings" in config and type(pad) is int and self._kind == "Unigram":
            config["max_position_embeddings"] = number(config, "max_position_embeddings") - 1 - pad
        self.config = config

    @cached_property
    def _kind(self) -> object:
        """What the tokenizer's model is (NomicBertModel._is_tokenizer_xlmroberta)."""
        model = (self.checkpoint.json(FILE) or {}).get("model")
        return model.get("type") if isinstance(model, dict) else None

    @cached_property
    def tokenizer(self) -> Values:
        """(NomicBertModel.set_vocab)"""
        size = tokenizers.vocabulary_size(self.config)
        if self._kind == "Unigram":
            return unigrams.unigram(self.checkpoint, size, self.token_types, mask=self.BIASED)
        return word_pieces(self.checkpoint, size, self.token_types)

    def doubts(self) -> Iterator[Error]:
        yield from super().doubts()
        if self._kind == "Unigram":
            yield from unigrams.doubts(self.checkpoint)

    def parameters(self, file_type: int) -> Values:
        """(NomicBertModel.set_gguf_parameters)"""
        self._check()
        return super().parameters(file_type)

    def _check(self) -> None:
        """Raise Error for what the runtime does not compute as the model does (NomicBertModel.__init__)."""
        trained = self.config.get("max_trained_positions", 2048)
        if self._positions not in LENGTHS or trained != 2048:
            raise Error(
                f"'n_positions' expects 8192 or 2048, got {in_json(self._positions)}"
                if trained == 2048
                else f"'max_trained_positions' expects 2048, got {in_json(trained)}",
                path="config.json",
                hint="llama.cpp's converter knows the length of texts only for these",
            )
        expected: Mapping[str, Any] = {
            "activation_function": self.ACTIVATION,
            "causal": False,
            "qkv_proj_bias": self.BIASED,
            "mlp_fc1_bias": self.BIASED,
            "mlp_fc2_bias": self.BIASED,
            "prenorm": False,
            "rotary_emb_fraction": 1.0,
            "rotary_emb_interleaved": False,
            "rotary_emb_scale_base": None,
        }
        for key, value in expected.items():
            if key not in self.config or self.config[key] != value:
                got = f"got {in_json(self.config[key])}" if key in self.config else "which is missing"
                raise Error(
                    f"'{key}' expects {in_json(value)}, {got}",
                    path="config.json",
                    hint="llama.cpp's runtime knows no other models of this class",
                )


class NomicBertMoe(NomicBert):
    """One with experts."""

    NAME = "nomic-bert-moe"
    LOADS = f"""
        {NORMED}
        token_types?              embd types
        blk.N.attn_output.bias?   embd
        dense blk.N.ffn_up            embd ff
        dense blk.N.ffn_up.bias?      ff
        dense blk.N.ffn_down          ff embd
        dense blk.N.ffn_down.bias?    embd
        experts blk.N.ffn_up_exps     embd ff experts
        experts blk.N.ffn_down_exps   ff embd experts
        experts blk.N.ffn_gate_inp    embd experts
    """
    CLASSES = ()
    NAMES = {
        **{name: known for name, known in NomicBert.NAMES.items() if not name.endswith(("fc11", "fc12"))},
        "encoder.layers.N.mlp.fc1": "blk.N.ffn_up",
        "encoder.layers.N.mlp.router.layer": "blk.N.ffn_gate_inp",
        f"encoder.layers.N.{EXPERTS}.w1": "blk.N.ffn_up_exps",
        f"encoder.layers.N.{EXPERTS}.w2": "blk.N.ffn_down_exps",
    }
    ACTIVATION = "gelu"
    BIASED = True

    def parameters(self, file_type: int) -> Values:
        """(NomicBertModel.set_gguf_parameters) Which blocks have experts, and how many each token gets."""
        out = Writer(self.NAME, self.config)
        out.put("moe_every_n_layers", "u32", number(self.config, "moe_every_n_layers"), "moe_every_n_layers")
        out.put("expert_used_count", "u32", number(self.config, "moe_top_k"), "moe_top_k")
        return super().parameters(file_type) | out.values

    def named(self, source: str) -> str | None:
        """(NomicBertModel.filter_tensors) The experts have one bias, which the runtime does not know."""
        return None if "mlp.experts.bias" in source else super().named(source)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(NomicBertModel.modify_tensors) The experts' rows stand one after the other; w2 is turned."""
        for source, x in sources.items():
            if f"{EXPERTS}.w" not in source:
                yield self.rename(source), x
                continue
            shape = tuple(
                number(self.config, *keys) for keys in (("num_local_experts", "num_experts"), ("n_inner",), ("n_embd",))
            )
            try:
                x = reshape(x, shape)
            except ValueError:
                raise Error(
                    f"tensor '{source}' does not have the shape that config.json declares",
                    path="config.json",
                    facts=[
                        ("expected", f"{shape[0] * shape[1]} rows of {shape[2]} (num_experts * n_inner, n_embd)"),
                        ("got", f"{list(x.shape)}"),
                    ],
                    hint="config.json belongs to another checkpoint",
                ) from None
            yield self.rename(f"{source}.weight"), transpose(x) if f"{EXPERTS}.w2" in source else x
