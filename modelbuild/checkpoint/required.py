"""The hyper-parameters that llama.cpp's runtime asks for, and at whose values it ends (src/llama-model.cpp, load_hparams)."""

from __future__ import annotations

from collections.abc import Iterator, Set

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.hyperparameters import BLOCKS_LIMIT, EXPERTS_LIMIT
from modelbuild.checkpoint.tables import lines
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.words import in_json


def faults(architecture: Architecture, stems: Set[str]) -> Iterator[Error]:
    """What is wrong with the hyper-parameters of a model with tensors of these stems, such as `blk.N.ffn_up`."""
    try:
        values = architecture.parameters(0)
    except Error:
        # Told where the metadata is made.
        return

    def value(key: str) -> int:
        return int.from_bytes(values.get(f"{architecture.NAME}.{key}", b"")[4:8], "little")

    other = f"{architecture.NAME}.attention.layer_norm_epsilon"
    for key, from_key in architecture.REQUIRED.items():
        if f"{architecture.NAME}.{key}" not in values and not (key.endswith("_rms_epsilon") and other in values):
            got = (
                f"got {in_json(architecture.config[from_key])}"
                if from_key in architecture.config
                else "which is missing"
            )
            yield Error(f"'{from_key}' expects a number above 0, {got}", path="config.json")
        elif key.endswith("epsilon") and (data := values.get(f"{architecture.NAME}.{key}")) and decode_value(data) < 0:
            got = in_json(architecture.config.get(from_key))
            yield Error(f"'{from_key}' expects a number above 0, got {got}", path="config.json")
    forward = any(line.name in stems and "ff" in line.dimensions for line in lines(architecture.LOADS))
    if forward and f"{architecture.NAME}.feed_forward_length" not in values:
        # Without it the runtime takes the matrices to have no rows.
        got = "got null" if "intermediate_size" in architecture.config else "which is missing"
        yield Error(f"'intermediate_size' expects a number above 0, {got}", path="config.json")
    blocks, experts, used = (value(key) for key in ("block_count", "expert_count", "expert_used_count"))
    if blocks > BLOCKS_LIMIT or experts > EXPERTS_LIMIT:
        yield Error(
            f"the model is larger than llama.cpp's runtime allows: {blocks} blocks, {experts} experts",
            path="config.json",
            facts=[("at most", f"{BLOCKS_LIMIT} blocks, {EXPERTS_LIMIT} experts")],
        )
    if (experts or used) and not 0 < used <= experts:
        yield Error(
            f"'num_experts_per_tok' expects a number from 1 to the number of all experts, {experts}, got {used}",
            path="config.json",
        )
