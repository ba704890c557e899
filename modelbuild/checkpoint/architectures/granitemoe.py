"""Granite with experts, and maybe one that all tokens share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from modelbuild.checkpoint.architectures.granite import Granite
from modelbuild.checkpoint.config import number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES
from modelbuild.errors import Error
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression


class GraniteMoe(Granite):
    NAME = "granitemoe"
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon", "logit_scale")
    CLASSES: ClassVar[tuple[str, ...]] = ("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM")
    MODEL_TYPE = "granitemoe"
    DEFAULTS = {**Granite.DEFAULTS, "num_local_experts": 8, "num_experts_per_tok": 2}
    NAMES = {key: value for key, value in NAMES.items() if ".mlp." not in key} | {
        "layers.N.block_sparse_moe.router.layer": "blk.N.ffn_gate_inp",
        "layers.N.block_sparse_moe.input_linear": "blk.N.ffn_up_exps",
        "layers.N.block_sparse_moe.output_linear": "blk.N.ffn_down_exps",
        "layers.N.shared_mlp.input_linear": "blk.N.ffn_up_shexp",
        "layers.N.shared_mlp.output_linear": "blk.N.ffn_down_shexp",
    }
    BIASES = r"blk\.N\.attn_(q|k|v|output)"

    def parameters(self, file_type: int) -> Values:
        number(self.config, "num_local_experts")
        return super().parameters(file_type) | self.of_shared()

    def of_shared(self) -> Values:
        """The hyper-parameter of what all tokens share, if there is one."""
        out = Writer(self.NAME, self.config)
        key = "shared_intermediate_size"
        out.put("expert_shared_feed_forward_length", "u32", self.config.get(key) or None, key)
        return out.values

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        for source, x in sources.items():
            yield from self.parted(source, x)

    def parted(self, source: str, x: Expression) -> Iterator[tuple[str, Expression]]:
        """The tensors that one becomes: gate and up lie in one, gate in its first rows (GraniteMoeModel.modify_tensors)."""
        name = self.rename(source)
        if not source.endswith(".input_linear.weight"):
            yield name, self.rotated(source, x)
            return
        key = "intermediate_size" if "_exps" in name else "shared_intermediate_size"
        rows = number(self.config, key)
        axis = len(x.shape) - 2
        if axis < 0 or x.shape[axis] != 2 * rows:
            raise Error(
                f"tensor '{source}' expects {2 * rows:,} rows, a gate and a projection of {key} each, "
                f"got the shape {list(x.shape)}",
                path="config.json",
            )
        yield name.replace(".ffn_up", ".ffn_gate"), slice_(x, axis, 0, rows)
        yield name, slice_(x, axis, rows, 2 * rows)


class GraniteMoeShared(GraniteMoe):
    """What transformers calls the same model when it has shared experts."""

    CLASSES = ()
    MODEL_TYPE = "granitemoeshared"
    DEFAULTS = {**GraniteMoe.DEFAULTS, "shared_intermediate_size": 0}
