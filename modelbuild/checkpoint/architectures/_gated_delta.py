"""Models of two kinds of blocks, as Qwen3-Next made them: most with linear attention (gated delta nets), some with attention.

Source: llama.cpp conversion/qwen.py (Qwen3NextModel), src/models/qwen3next.cpp, src/models/qwen35.cpp
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import _mtp
from modelbuild.checkpoint.architectures._mtp import Mtp
from modelbuild.checkpoint.config import block_count, number, rope_parameters
from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES, rename
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.operations.neg_exp import neg_exp
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

ATTENTION = """
    blk.N.attn_norm                   embd
    blk.N.post_attention_norm         embd
    attention blk.N.qkv               2*queries keys values
    attention blk.N.attn_output       queries embd
    attention blk.N.attn_q_norm       head
    attention blk.N.attn_k_norm       head
    recurrent blk.N.attn_qkv?         embd mixed
    recurrent blk.N.attn_gate?        embd inner
    recurrent blk.N.ssm_conv1d        conv mixed
    recurrent blk.N.ssm_dt.bias       rank
    recurrent blk.N.ssm_a.            rank
    recurrent blk.N.ssm_norm          state
    recurrent blk.N.ssm_out           inner embd
"""
"""Lines of LOADS."""

EXPERTS = """
    blk.N.ffn_gate_inp                embd experts
    blk.N.ffn_gate_exps               embd ff_exp experts
    blk.N.ffn_down_exps               ff_exp embd experts
    blk.N.ffn_up_exps                 embd ff_exp experts
    blk.N.ffn_gate_inp_shexp          embd
    blk.N.ffn_gate_shexp              embd ff_shexp
    blk.N.ffn_up_shexp                embd ff_shexp
    blk.N.ffn_down_shexp              ff_shexp embd
"""
"""Lines of LOADS, of models with experts."""

ASKS = (
    "attention.layer_norm_rms_epsilon", "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count",
)  # fmt: skip

EXPERT_NAMES = {
    "layers.N.mlp.gate": "blk.N.ffn_gate_inp",
    "layers.N.mlp.experts.gate_proj": "blk.N.ffn_gate_exps",
    "layers.N.mlp.experts.up_proj": "blk.N.ffn_up_exps",
    "layers.N.mlp.experts.down_proj": "blk.N.ffn_down_exps",
    "layers.N.mlp.shared_expert_gate": "blk.N.ffn_gate_inp_shexp",
    "layers.N.mlp.shared_expert.gate_proj": "blk.N.ffn_gate_shexp",
    "layers.N.mlp.shared_expert.up_proj": "blk.N.ffn_up_shexp",
    "layers.N.mlp.shared_expert.down_proj": "blk.N.ffn_down_shexp",
}
"""Stems of NAMES, of models with experts."""

_DECAYS = {"layers.N.linear_attn.A_log": "blk.N.ssm_a", "layers.N.linear_attn.dt_bias": "blk.N.ssm_dt.bias"}
"""Tensors without a suffix in the checkpoint."""

_LINEAR = ("ssm_", "attn_gate", "attn_qkv")
_FULL = ("attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm")


class GatedDelta(Mtp):
    """A mixin: the metadata, and what all of these models do to their tensors."""

    NAMES: ClassVar[Mapping[str, str]] = {
        **{name: known for name, known in NAMES.items() if ".mlp." not in name},
        "layers.N.post_attention_layernorm": "blk.N.post_attention_norm",
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
        "layers.N.linear_attn.conv1d": "blk.N.ssm_conv1d",
        "layers.N.linear_attn.norm": "blk.N.ssm_norm",
        "layers.N.linear_attn.out_proj": "blk.N.ssm_out",
        **_mtp.NAMES,
    }
    SHAPES = f"""
        {_mtp.SHAPES}
        blk.N.attn_q          embd 2*queries
        blk.N.attn_qkv        embd mixed
        blk.N.attn_gate       embd inner
        blk.N.ssm_conv1d      conv mixed
        blk.N.ssm_dt.bias     rank
        blk.N.ssm_a.          rank
        blk.N.ssm_norm        state
        blk.N.ssm_out         inner embd
        blk.N.ssm_alpha       embd rank
        blk.N.ssm_beta        embd rank
        blk.N.ssm_ba          embd 2*rank
        blk.N.ffn_gate_inp_shexp      embd
    """
    BIASES = r"blk\.N\.(attn_(q|k|v|qkv)|ssm_dt)"
    NEEDED = ("blk.N.ssm_dt.bias", "blk.N.ssm_a")

    @property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """(Qwen3NextModel.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        for key, source in (
            ("ssm.conv_kernel", "linear_conv_kernel_dim"),
            ("ssm.state_size", "linear_key_head_dim"),
            ("ssm.group_count", "linear_num_key_heads"),
            ("ssm.time_step_rank", "linear_num_value_heads"),
        ):
            out.put(key, "u32", number(self.config, source), source)
        inner = number(self.config, "linear_value_head_dim") * number(self.config, "linear_num_value_heads")
        out.put("ssm.inner_size", "u32", inner, "linear_value_head_dim")
        if (recurrent := self._recurrent) is not None:
            values = [*recurrent, *(False for _ in range(self.further))]
            out.values[f"{self.NAME}.attention.recurrent_layers"] = encode_value("[bool]", values)
        out.put("full_attention_interval", "u32", self._interval, "full_attention_interval")
        out.put("rope.dimension_count", "u32", self._rotary, "partial_rotary_factor")
        base = base_parameters(self.NAME, self.config, file_type)
        return self.with_further(base | self.of_experts()) | out.values

    def of_experts(self) -> Values:
        """The hyper-parameters of experts, where there are some (Qwen2MoeModel.set_gguf_parameters)."""
        out = Writer(self.NAME, self.config)
        out.take("expert_feed_forward_length", "u32", "moe_intermediate_size")
        out.take("expert_shared_feed_forward_length", "u32", "shared_expert_intermediate_size")
        return out.values

    @property
    def _interval(self) -> int:
        return number({"full_attention_interval": 4, **self.config}, "full_attention_interval")

    @property
    def _recurrent(self) -> list[bool] | None:
        """Which of the model's own blocks have linear attention, where config.json lists it."""
        types: Any = self.config.get("layer_types")
        if types is None:
            return None
        count = block_count(self.config)
        if not isinstance(types, list) or len(types) != count:
            got = f"got {len(types)}" if isinstance(types, list) else f"got {in_json(types)}"
            raise Error(f"'layer_types' expects {count} kinds, one for each block, {got}", path="config.json")
        return [kind == "linear_attention" for kind in types]

    @property
    def _rotary(self) -> int:
        head = self.config.get("head_dim")
        if head is None:
            head = number(self.config, "hidden_size") // number(self.config, "num_attention_heads")
        factor = rope_parameters(self.config).get("partial_rotary_factor", 0.25)
        if type(head) is not int or type(factor) not in (int, float) or not 0 < factor <= 1:
            name, got = ("head_dim", head) if type(head) is not int else ("partial_rotary_factor", factor)
            wanted = "a whole number" if name == "head_dim" else "a number above 0 and at most 1"
            raise Error(f"'{name}' expects {wanted}, got {in_json(got)}", path="config.json")
        return int(head * factor)

    def has(self, stem: str, block: int) -> bool:
        part = stem.removeprefix("blk.N.")
        full, linear = part in _FULL, part.startswith(_LINEAR)
        return (not full and not linear or self._is_linear(block) is linear) and super().has(stem, block)

    def _is_linear(self, block: int) -> bool:
        if block >= block_count(self.config):
            return False
        recurrent = self._recurrent
        return recurrent[block] if recurrent is not None else (block + 1) % self._interval != 0

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        for source, x in sources.items():
            yield from self.linear(source, x)

    def linear(self, source: str, x: Expression) -> Iterator[tuple[str, Expression]]:
        """The tensors that one of the checkpoint's becomes, but for experts (Qwen3NextModel.modify_tensors)."""
        if source.endswith((".A_log", ".dt_bias")):
            name = rename(f"{source}.weight", _DECAYS, self.blocks.stop).removesuffix(".weight")
            yield name, neg_exp(x) if source.endswith(".A_log") else x
        elif "conv1d" in source:
            yield self.rename(source), reshape(x, tuple(n for n in x.shape if n != 1))
        elif source.endswith("norm.weight") and not source.endswith("linear_attn.norm.weight"):
            yield self.rename(source), add_one(x)
        else:
            yield self.rename(source), x


def extent(source: str, x: Expression, axis: int, wanted: int, keys: str) -> None:
    """Raise Error where an axis does not have the extent that keys of config.json tell."""
    if axis >= len(x.shape) or x.shape[axis] != wanted:
        what = ("rows", "columns")[axis] if len(x.shape) > 1 else "values"
        raise Error(
            f"tensor '{source}' expects {wanted} {what}, got {list(x.shape)}",
            path="config.json",
            facts=[("from", keys)],
            hint="config.json belongs to another checkpoint",
        )


def heads_of(config: Mapping[str, Any]) -> tuple[int, int]:
    """Heads of keys, and of values for each of them. Raises Error where they do not divide."""
    keys, values = number(config, "linear_num_key_heads"), number(config, "linear_num_value_heads")
    if values % keys:
        raise Error(
            f"'linear_num_value_heads' expects a multiple of linear_num_key_heads, {keys}, got {values}",
            path="config.json",
        )
    return keys, values // keys
