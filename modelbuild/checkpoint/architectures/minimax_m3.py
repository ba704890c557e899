"""MiniMax M3: of a MiniMax M2's kind, with blocks without experts before the others, shared experts, and attention to some of the text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelbuild.checkpoint.architectures._experts import has_part, leading
from modelbuild.checkpoint.architectures._loads import EMBEDDING, NORMED_HEADS
from modelbuild.checkpoint.architectures.minimax_m2 import MiniMaxM2
from modelbuild.checkpoint.config import block_count, number
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import NAMES
from modelbuild.errors import Error
from modelbuild.tensors.operations.add_one import add_one
from modelbuild.tensors.recipe import Expression

_PARTS = ("gate_proj", "up_proj", "down_proj")
_INDEXER = ("q_proj", "k_proj", "q_norm", "k_norm")
_INDEX = {
    "head_count": ("sparse_num_index_heads", "index_n_heads"),
    "key_length": ("sparse_index_dim", "index_head_dim"),
    "top_k": ("sparse_topk_blocks", "index_topk_blocks"),
    "block_size": ("sparse_block_size", "index_block_size"),
    "local_blocks": ("sparse_local_block", "index_local_blocks"),
}
"""What chooses the text that a block sees: what `sparse_attention_config` calls it, and transformers 5."""


class MiniMaxM3(MiniMaxM2):
    """(llama.cpp conversion/minimax.py, MiniMaxM3Model)"""

    NAME = "minimax-m3"
    LOADS = f"""
        {EMBEDDING} {NORMED_HEADS}
        output                            embd vocab
        first blk.N.ffn_gate              embd ff
        first blk.N.ffn_up                embd ff
        first blk.N.ffn_down              ff embd
        later blk.N.ffn_gate_inp          embd experts
        later blk.N.exp_probs_b.bias      experts
        later blk.N.ffn_gate_exps         embd ff_exp experts
        later blk.N.ffn_down_exps         ff_exp embd experts
        later blk.N.ffn_up_exps           embd ff_exp experts
        later blk.N.ffn_gate_shexp        embd ff_shexp
        later blk.N.ffn_down_shexp        ff_shexp embd
        later blk.N.ffn_up_shexp          embd ff_shexp
        later blk.N.indexer.q_proj        embd indices
        later blk.N.indexer.k_proj        embd index
        later blk.N.indexer.q_norm        index
        later blk.N.indexer.k_norm        index
    """
    CLASSES = ("MiniMaxM3SparseForCausalLM", "MiniMaxM3SparseForConditionalGeneration")
    NAMES = {
        **NAMES,
        **MiniMaxM2.NAMES,
        **{f"layers.N.block_sparse_moe.shared_experts.{part}": f"blk.N.ffn_{part[:-5]}_shexp" for part in _PARTS},
        **{f"layers.N.self_attn.index_{part}": f"blk.N.indexer.{part}" for part in _INDEXER},
    }
    SHAPES = """
        blk.N.attn_q_norm                 head
        blk.N.attn_k_norm                 head
        blk.N.exp_probs_b.bias            experts
        blk.N.indexer.q_proj              embd indices
        blk.N.indexer.k_proj              embd index
        blk.N.indexer.q_norm              index
        blk.N.indexer.k_norm              index
    """
    # Which blocks have which, `has` says of each.
    EXPERTS_BESIDE = True
    ASKS = (
        *MiniMaxM2.ASKS,
        "expert_shared_count",
        "expert_gating_func",
        *(f"attention.indexer.{key}" for key in ("head_count", "key_length", "top_k", "block_size", "local_blocks")),
    )

    @property
    def dense(self) -> int:
        """How many blocks come before those with experts, and with attention to some of the text."""
        blocks, said = block_count(self.config), self.config.get("moe_layer_freq")
        if not isinstance(said, list):
            return leading(self.config, blocks)
        first = next((at for at, experts in enumerate(said) if experts != 0), len(said))
        if len(said) != blocks or 0 in said[first:]:
            raise Error(
                f"'moe_layer_freq' expects 0 or 1 for each of {blocks} blocks, and those without experts before all others",
                path="config.json",
                hint="llama.cpp's runtime knows no other order",
            )
        return first

    def has(self, stem: str, block: int) -> bool:
        if ".indexer." in stem:
            return block >= self.dense
        found = has_part(stem, experts=block >= self.dense)
        return super().has(stem, block) if found is None else found

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        width, length = number(self.config, "intermediate_size"), self._index("key_length")
        return {
            "ff_exp": (width, "intermediate_size"),
            "ff_shexp": (width * self._shared, "n_shared_experts * intermediate_size"),
            "index": (length, "sparse_index_dim"),
            "indices": (self._index("head_count") * length, "sparse_num_index_heads * sparse_index_dim"),
        }

    @property
    def _shared(self) -> int:
        """How many experts' width those have that all tokens share, which transformers 5 says as a width."""
        config = self.config
        if "n_shared_experts" not in config and "shared_intermediate_size" in config:
            return number(config, "shared_intermediate_size") // number(config, "intermediate_size")
        return number(config, "n_shared_experts")

    def _index(self, key: str) -> int:
        released, flat = _INDEX[key]
        found = self.config.get("sparse_attention_config")
        return number(found, released) if isinstance(found, dict) else number(self.config, flat)

    def parameters(self, file_type: int) -> Values:
        """(MiniMaxM3Model.set_gguf_parameters)"""
        out = Writer(self.NAME, self.config)
        out.put("expert_shared_count", "u32", self._shared, "n_shared_experts")
        scale = self.config.get("routed_scaling_factor")
        if scale is None:
            raise Error("'routed_scaling_factor' is missing", path="config.json")
        out.put("expert_weights_scale", "f32", scale, "routed_scaling_factor")
        out.put("expert_weights_norm", "bool", True, "routed_scaling_factor")
        for key in _INDEX:
            out.put(f"attention.indexer.{key}", "u32", self._index(key), _INDEX[key][0])
        out.put("leading_dense_block_count", "u32", self.dense, "moe_layer_freq")
        return super().parameters(file_type) | out.values

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(MiniMaxM3Model.modify_tensors) Norms are stored minus one."""
        named = {name: add_one(x) if name.endswith("norm.weight") else x for name, x in sources.items()}
        return super().tensors(named)
