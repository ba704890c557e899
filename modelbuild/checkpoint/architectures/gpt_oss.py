"""GPT-OSS: experts in MXFP4, as they are stored, or in floats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures._loads import EMBEDDING
from modelbuild.checkpoint.config import Config, block_count, layer_types_fit, number, transformers_takes, with_heads
from modelbuild.checkpoint.hyperparameters import Writer, base_parameters
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES, rename
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error
from modelbuild.tensors.ftypes import FLOATS, FTYPES
from modelbuild.tensors.operations.mxfp4 import mxfp4
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression

EXPERTS = {
    "layers.N.mlp.experts.gate_up_proj": "blk.N.ffn_up_exps",
    "layers.N.mlp.experts.down_proj": "blk.N.ffn_down_exps",
}


class GptOss(Architecture):
    NAME = "gpt-oss"
    LOADS = f"""
        {EMBEDDING}
        output                    embd vocab
        blk.N.attn_norm           embd
        blk.N.post_attention_norm embd
        blk.N.qkv                 queries keys keys
        blk.N.attn_output         queries embd
        blk.N.attn_output.bias    embd
        blk.N.attn_sinks          heads
        blk.N.ffn_gate_inp        embd experts
        blk.N.ffn_gate_exps       embd ff_exp experts
        blk.N.ffn_down_exps       ff_exp embd experts
        blk.N.ffn_up_exps         embd ff_exp experts
        blk.N.ffn_gate_inp.bias   experts
        blk.N.ffn_gate_exps.bias  ff_exp experts
        blk.N.ffn_down_exps.bias  embd experts
        blk.N.ffn_up_exps.bias    ff_exp experts
    """
    ASKS = ("attention.layer_norm_rms_epsilon", "expert_feed_forward_length", "attention.sliding_window")
    CLASSES = ("GptOssForCausalLM",)
    MODEL_TYPE = "gpt_oss"
    DEFAULTS = {
        "num_hidden_layers": 36,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "head_dim": 64,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "sliding_window": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 150000.0,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "original_max_position_embeddings": 4096,
        },
    }
    NAMES = {key: value for key, value in NAMES.items() if ".mlp." not in key} | {
        "layers.N.post_attention_layernorm": "blk.N.post_attention_norm",
        "layers.N.self_attn.sinks": "blk.N.attn_sinks",
        "layers.N.mlp.router": "blk.N.ffn_gate_inp",
    }
    QUANTIZED = ("mxfp4",)
    NEEDED = (
        "output.weight",
        *(
            f"blk.N.{stem}.bias"
            for stem in ("attn_output", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
        ),
    )
    BIASES = r"blk\.N\.(attn_(q|k|v|output)|ffn_gate_inp|ffn_(gate|up|down)_exps)"

    @classmethod
    def takes(cls, config: Config) -> bool:
        """(transformers, layer_type_validation)"""
        return transformers_takes(config) and layer_types_fit({**cls.DEFAULTS, **config})

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, GptOssConfig)"""
        return with_heads(config)

    @property
    def is_mxfp4(self) -> bool:
        found = self.config.get("quantization_config")
        return isinstance(found, dict) and found.get("quant_method") == "mxfp4"

    @property
    def tokenizer(self) -> Values:
        """Byte pairs, even beside a tokenizer.model (GptOssModel.set_vocab)."""
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))

    def parameters(self, file_type: int) -> Values:
        """Experts stay MXFP4 whatever the type of the rest, and the file is called after them (ModelBase.prepare_metadata)."""
        if self.is_mxfp4 and file_type in (FTYPES[name] for name in FLOATS):
            file_type = FTYPES["mxfp4_moe"]
        out = Writer(self.NAME, self.config)
        out.put("attention.sliding_window", "u32", number(self.config, "sliding_window"), "sliding_window")
        out.put("expert_feed_forward_length", "u32", number(self.config, "intermediate_size"), "intermediate_size")
        return base_parameters(self.NAME, self.config, file_type) | out.values

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """The experts of all blocks that are MXFP4, then the rest (GptOssModel.generate_extra_tensors, modify_tensors)."""
        packed = re.compile(r"(.*)_(blocks|scales)")
        for source in sources:
            if (found := packed.fullmatch(source)) and found[2] == "scales":
                yield from self.experts(found[1], ".weight", _packed(found[1], sources))
            elif found and f"{found[1]}_scales" not in sources:
                raise Error(f"tensor '{source}' is MXFP4 and lacks its scales, '{found[1]}_scales'")
        for source, x in sources.items():
            if packed.fullmatch(source):
                continue
            if source.endswith((".gate_up_proj", ".down_proj")):
                yield from self.experts(source, ".weight", transpose(_shaped(source, x, 3)))
            elif source.endswith(("gate_up_proj_bias", "down_proj_bias")):
                yield from self.experts(source.removesuffix("_bias"), ".bias", _shaped(source, x, 2))
            else:
                yield self.rename(f"{source}.weight" if source.endswith(".sinks") else source), x

    def experts(self, stem: str, suffix: str, x: Expression) -> Iterator[tuple[str, Expression]]:
        """The tensors of a projection: rows of gate and up take turns, gate first."""
        name = rename(stem + suffix, EXPERTS, block_count(self.config))
        if "ffn_up" not in name:
            yield name, x
            return
        if x.shape[1] % 2 or not x.shape[1]:
            raise Error(f"tensor '{stem}' expects the same number of gate and up rows, got {x.shape[1]} in all")
        yield name.replace("ffn_up", "ffn_gate"), _every_other(x, 0)
        yield name, _every_other(x, 1)


def _shaped(source: str, x: Expression, dimensions: int) -> Expression:
    if len(x.shape) != dimensions:
        raise Error(f"tensor '{source}' expects {dimensions} dimensions, the experts first, got {list(x.shape)}")
    return x


def _packed(stem: str, sources: Mapping[str, Expression]) -> Expression:
    blocks, scales = sources.get(f"{stem}_blocks"), _shaped(f"{stem}_scales", sources[f"{stem}_scales"], 3)
    if blocks is None:
        raise Error(f"tensor '{stem}_scales' lacks the values that it scales, '{stem}_blocks'")
    try:
        return mxfp4(blocks, scales)
    except ValueError:
        raise Error(
            f"tensors '{stem}_blocks' and '{stem}_scales' expect bytes of MXFP4, sixteen for each scale, "
            f"got {blocks.dtype} {list(blocks.shape)} and {scales.dtype} {list(scales.shape)}"
        ) from None


def _every_other(x: Expression, start: int) -> Expression:
    """Rows `start`, `start + 2`, …; of MXFP4 before it is packed, which is done by rows."""
    if x.operation == "mxfp4":
        return mxfp4(*(slice_(part, 1, start, part.shape[1], 2) for part in x.operands))
    return slice_(x, 1, start, x.shape[1], 2)
