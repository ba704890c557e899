"""Nemotron-H and Nemotron 3: each block is a Mamba-2 mixer, attention or a feed forward, which may have experts.

Source: llama.cpp conversion/nemotron.py (NemotronHModel), src/models/nemotron-h.cpp
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture, _mamba2
from modelbuild.checkpoint.architectures._experts import stacked
from modelbuild.checkpoint.architectures._loads import EMBEDDING, OUTPUT
from modelbuild.checkpoint.architectures._mamba2 import Mamba2, mamba_number
from modelbuild.checkpoint.architectures._mtp import LOADS as NEXTN
from modelbuild.checkpoint.architectures._mtp import NAMES as JOINING
from modelbuild.checkpoint.architectures._mtp import Mtp
from modelbuild.checkpoint.architectures.granite import Granite
from modelbuild.checkpoint.architectures.granitemoehybrid import CONTEXT
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import Config, block_count, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import rename
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

_KINDS = {
    "M": "recurrent", "mamba": "recurrent", "linear_attention": "recurrent",
    "*": "attention", "attention": "attention", "full_attention": "attention",
    "-": "forward", "mlp": "forward",
    "E": "experts", "moe": "experts",
}  # fmt: skip
"""What a pattern's letter, or a word of a list, means."""

_PATTERN, _LIST = "hybrid_override_pattern", "layers_block_type"

_ATTENTION = """
    attention blk.N.qkv               queries keys values
    attention blk.N.attn_output       queries embd
    attention blk.N.attn_output.bias? embd
"""


class NemotronH(Mamba2, Granite):
    """One without experts. Nothing is filled in: no transformers 4 knows its configuration."""

    NAME = "nemotron_h"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {_mamba2.MIXER} {_ATTENTION}
        blk.N.attn_norm                   embd
        forward blk.N.ffn_up              embd ff
        forward blk.N.ffn_up.bias?        ff
        forward blk.N.ffn_down            ff embd
        forward blk.N.ffn_down.bias?      embd
    """
    SHAPES = _mamba2.SHAPES
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_epsilon", *_mamba2.ASKS)
    CLASSES: ClassVar[tuple[str, ...]] = ("NemotronHForCausalLM",)
    MODEL_TYPE = "nemotron_h"
    DEFAULTS = {}
    NAMES: ClassVar[Mapping[str, str]] = {
        "embeddings": "token_embd",
        "norm_f": "output_norm",
        "lm_head": "output",
        "layers.N.norm": "blk.N.attn_norm",
        "layers.N.mixer.q_proj": "blk.N.attn_q",
        "layers.N.mixer.k_proj": "blk.N.attn_k",
        "layers.N.mixer.v_proj": "blk.N.attn_v",
        "layers.N.mixer.o_proj": "blk.N.attn_output",
        "layers.N.mixer.up_proj": "blk.N.ffn_up",
        "layers.N.mixer.down_proj": "blk.N.ffn_down",
        **_mamba2.names("layers.N.mixer"),
    }
    NEEDED: ClassVar[tuple[str, ...]] = _mamba2.NEEDED
    BIASES = r"blk\.N\.(attn_(q|k|v|output)|ssm_(dt|conv1d)|ffn_(up|down))"
    REQUIRED = {
        **{key: source for key, source in Architecture.REQUIRED.items() if not key.endswith("epsilon")},
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    }

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        listed = self.config.get(_LIST)
        if isinstance(listed, list):
            self.config = {**self.config, "num_hidden_layers": len(listed)}

    @classmethod
    def takes(cls, config: Config) -> bool:
        return False

    @classmethod
    def reading(cls, config: Config) -> type[Architecture]:
        """With experts, by the pattern: transformers 5 writes their keys for all models."""
        part = config.get("llm_config", config.get("text_config"))
        whole = {**config, **part} if isinstance(part, dict) else config
        pattern = whole.get(_PATTERN) or whole.get(_LIST)
        has = isinstance(pattern, str | list) and any(_KINDS.get(str(kind)) == "experts" for kind in pattern)
        return NemotronHMoe if has else NemotronH

    @property
    def tokenizer(self) -> Values:
        """Byte pairs alone, whatever else is in the folder (NemotronHModel.set_vocab)."""
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def kinds(self) -> list[str]:
        """(NemotronHModel.__init__)"""
        key = _PATTERN if self.config.get(_PATTERN) else _LIST
        pattern, count = self.config.get(key), block_count(self.config)
        if not isinstance(pattern, str | list) or len(pattern) != count:
            got = f"{len(pattern)}" if isinstance(pattern, str | list) else in_json(pattern)
            raise Error(f"'{key}' expects the kind of each of {count} blocks, got {got}", path="config.json")
        kinds = []
        for kind in pattern:
            if not isinstance(kind, str) or kind not in _KINDS:
                raise Error(f"'{key}' expects {', '.join(_KINDS)}, got {in_json(kind)}", path="config.json")
            kinds.append(_KINDS[kind])
        if "recurrent" not in kinds or {"forward", "experts"} <= set(kinds):
            lacks = "experts in some blocks and none in others" if "recurrent" in kinds else "no Mamba mixer"
            raise Error(
                f"llama.cpp's runtime knows no Nemotron-H with {lacks}", path="config.json", facts=[("from", key)]
            )
        return ["forward" if kind == "experts" else kind for kind in kinds]

    @property
    def inner(self) -> int:
        return mamba_number(self.config, "num_heads") * number(self.config, "mamba_head_dim")

    def has(self, stem: str, block: int) -> bool:
        if stem.startswith("blk.N.ffn_"):
            return self.kinds()[block] in ("forward", "nextn")
        return super().has(stem, block)

    @property
    def forward(self) -> tuple[str, ...]:
        """Keys of the rows of a feed forward, the first that is there."""
        return ("intermediate_size", "n_inner", "hidden_dim")

    def parameters(self, file_type: int) -> Values:
        """(NemotronHModel.set_gguf_parameters)"""
        self._check()
        name, config = self.NAME, self.config
        values = super().parameters(file_type) | self.mixers() | self.shared_heads()
        values[f"{name}.rope.scaling.finetuned"] = encode_value("bool", False)
        values[f"{name}.context_length"] = encode_value("u32", CONTEXT)
        key = "head_dim" if "head_dim" in config or "attention_head_dim" not in config else "attention_head_dim"
        head = number(config, key)
        values |= dict.fromkeys(
            (f"{name}.attention.key_length", f"{name}.attention.value_length"), encode_value("u32", head)
        )
        rows = [number(config, *self.forward) if self.has("blk.N.ffn_up", n) else 0 for n in range(len(self.kinds()))]
        return values | {f"{name}.feed_forward_length": encode_value("[i32]", rows)}

    def _check(self) -> None:
        for key, known in (("mlp_hidden_act", "relu2"), ("mamba_hidden_act", "silu"), ("hidden_act", "silu")):
            if (got := self.config.get(key)) not in (None, known):
                raise Error(
                    f"'{key}' expects {known}, which llama.cpp's runtime computes, got {in_json(got)}",
                    path="config.json",
                )

    def doubts(self) -> Iterable[Error]:
        return self.unclamped()

    def named(self, source: str) -> str | None:
        """transformers 5 calls `model` what is `backbone` in most checkpoints."""
        name = super().named(source)
        return name.replace("backbone.", "model.", 1) if name is not None and name.startswith("backbone.") else name

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        for source, x in sources.items():
            yield from (
                self.mixer(source, x) if self._is_mixers(source) else [(self.rename(source), self.rotated(source, x))]
            )

    def _is_mixers(self, source: str) -> bool:
        return ".mixer." in source and source.endswith(_MIXERS)


_MIXERS = (
    ".A_log", ".D", ".dt_bias", ".conv1d.weight", ".conv1d.bias", ".in_proj.weight", ".mixer.norm.weight", ".out_proj.weight",
)  # fmt: skip


class NemotronHMoe(Mtp, NemotronH):
    """One with experts, and maybe a block for further tokens, which is stored as two."""

    NAME = "nemotron_h_moe"
    MODEL_TYPE = ""
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {_mamba2.MIXER} {_ATTENTION} {NEXTN}
        blk.N.attn_norm                   embd
        nextn blk.N.post_attention_norm   embd
        forward blk.N.ffn_gate_inp        embd experts
        forward blk.N.exp_probs_b.bias    experts
        forward blk.N.ffn_latent_down?    embd latent
        forward blk.N.ffn_latent_up?      latent embd
        forward blk.N.ffn_down_exps       ff_exp latent experts
        forward blk.N.ffn_up_exps         latent ff_exp experts
        forward blk.N.ffn_down_shexp      ff_shexp embd
        forward blk.N.ffn_up_shexp        embd ff_shexp
    """
    SHAPES = f"""
        {NemotronH.SHAPES}
        blk.N.exp_probs_b.bias    experts
        blk.N.ffn_latent_down     embd latent
        blk.N.ffn_latent_up       latent embd
        blk.N.ffn_down_exps       ff_exp latent experts
        blk.N.ffn_up_exps         latent ff_exp experts
        blk.N.nextn.eh_proj       2*embd embd
        blk.N.nextn.enorm         embd
        blk.N.nextn.hnorm         embd
        blk.N.nextn.shared_head_norm  embd
    """
    MTP = True
    KEY = "num_nextn_predict_layers"
    NAMES = {
        **{stem: known for stem, known in NemotronH.NAMES.items() if ".ffn_" not in known},
        **JOINING,
        "layers.N.post_norm": "blk.N.post_attention_norm",
        "layers.N.mixer.gate": "blk.N.ffn_gate_inp",
        "layers.N.mixer.fc1_latent_proj": "blk.N.ffn_latent_down",
        "layers.N.mixer.fc2_latent_proj": "blk.N.ffn_latent_up",
        "layers.N.mixer.experts.down_proj": "blk.N.ffn_down_exps",
        "layers.N.mixer.experts.up_proj": "blk.N.ffn_up_exps",
        "layers.N.mixer.shared_experts.down_proj": "blk.N.ffn_down_shexp",
        "layers.N.mixer.shared_experts.up_proj": "blk.N.ffn_up_shexp",
    }
    NEEDED = (*_mamba2.NEEDED, "blk.N.exp_probs_b.bias")
    OPTIONAL = "output"
    BIASES = r"blk\.N\.(attn_(q|k|v|output)|ssm_(dt|conv1d)|exp_probs_b)"

    def kinds(self) -> list[str]:
        return [*super().kinds(), *("nextn" for _ in range(self.further))]

    def has(self, stem: str, block: int) -> bool:
        part = stem.removeprefix("blk.N.")
        if part == "post_attention_norm":
            return self.kinds()[block] == "nextn"
        if part == "exp_probs_b":
            return super().has("blk.N.ffn_gate_inp", block)
        if part.startswith("ffn_latent") and self.config.get("moe_latent_size") is None:
            return False
        return super().has(stem, block)

    @property
    def counted(self) -> int:
        return 1

    @property
    def forward(self) -> tuple[str, ...]:
        return ("moe_intermediate_size",)

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        key = "hidden_size" if self.config.get("moe_latent_size") is None else "moe_latent_size"
        found = {"experts": "n_routed_experts", "ff_exp": "moe_intermediate_size", "latent": key}
        return {**super().sizes(block), **{word: (number(self.config, key), key) for word, key in found.items()}}

    def parameters(self, file_type: int) -> Values:
        config, out = self.config, Writer(self.NAME, self.config)
        for key, source in (
            ("expert_used_count", "num_experts_per_tok"),
            ("expert_feed_forward_length", "moe_intermediate_size"),
            ("expert_shared_feed_forward_length", "moe_shared_expert_intermediate_size"),
            ("expert_count", "n_routed_experts"),
            ("expert_shared_count", "n_shared_experts"),
        ):
            out.put(key, "u32", number(config, source), source)
        if not isinstance(norm := config.get("norm_topk_prob"), bool):
            raise Error(f"'norm_topk_prob' expects true or false, got {in_json(norm)}", path="config.json")
        out.values[f"{self.NAME}.expert_weights_norm"] = encode_value("bool", norm)
        scale: Any = config.get("routed_scaling_factor")
        if type(scale) not in (int, float):
            raise Error(f"'routed_scaling_factor' expects a number, got {in_json(scale)}", path="config.json")
        out.put("expert_weights_scale", "f32", scale, "routed_scaling_factor")
        out.put("expert_group_count", "u32", number(config, "n_group"), "n_group")
        out.put("moe_latent_size", "u32", config.get("moe_latent_size"), "moe_latent_size")
        return self.with_further(super().parameters(file_type) | out.values)

    def joined(self, name: str) -> str:
        """Its attention is `mtp.layers.0`, its experts are `mtp.layers.1` (NemotronHModel.modify_tensors)."""
        own = {"1.norm.weight": "post_norm.weight", "1.final_layernorm.weight": "shared_head.norm.weight"}
        part = name.removeprefix("mtp.layers.")
        if part == name or not part.startswith(("0.", "1.")):
            return name
        return f"model.layers.{block_count(self.config)}.{own.get(part, part[2:])}"

    def keeps_f32(self, name: str) -> bool:
        """Not the router of the block for further tokens, which llama.cpp's converter looks for in the block of the checkpoint's number."""
        further = name == f"blk.{block_count(self.config)}.ffn_gate_inp.weight"
        return super().keeps_f32(name) and not further

    def rename(self, source: str) -> str:
        # A bias without a weight: none that NAMES could tell of.
        names = {**self.NAMES, "layers.N.mixer.gate.e_score_correction": "blk.N.exp_probs_b"}
        return rename(source, names, self.blocks.stop)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        named = {_with_suffix(source): x for source, x in sources.items()}
        return super().tensors(dict(stacked(named, ("down_proj", "up_proj"), self.config, "n_routed_experts")))


def _with_suffix(source: str) -> str:
    """A name as of a weight or a bias, where the checkpoint says neither."""
    if source.endswith((".experts.down_proj", ".experts.up_proj")):
        return f"{source}.weight"
    return source.replace("e_score_correction_bias", "e_score_correction.bias")
