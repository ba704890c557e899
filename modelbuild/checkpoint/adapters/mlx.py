"""What mlx-lm writes: adapter_config.json and adapters.safetensors, of today and of 2024.

Source: mlx-lm, tuner/lora.py, tuner/dora.py, tuner/utils.py (linear_to_lora_layers)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelbuild.checkpoint.adapters.adapter import Adapter, Pair
from modelbuild.checkpoint.adapters.tensors import floats
from modelbuild.errors import Error
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import in_json, shown

CONFIG = "adapter_config.json"

_PART = re.compile(r"(.+)\.(lora_a|lora_b|m)")
_MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def read(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Adapter:
    """What an adapter changes. `scale` is the factor itself; where an old configuration has an `alpha`, scale * alpha / rank."""
    if config.get("fine_tune_type") == "full":
        return Adapter({}, whole={_checkpoint_name(name): floats(tensor) for name, tensor in tensors.items()})
    if (kind := config.get("fine_tune_type", "lora")) not in ("lora", "dora"):
        raise Error(
            f"the adapter's fine_tune_type is '{shown(kind)}', which is not supported yet",
            path=CONFIG,
            hint="fuse it with mlx_lm.fuse, and name that folder in FROM",
        )
    rank, factor = _settings(config)
    parts: dict[str, dict[str, tuple[str, Expression]]] = {}
    whole: dict[str, Expression] = {}
    for name, tensor in tensors.items():
        if match := _PART.fullmatch(name):
            parts.setdefault(match[1], {})[match[2]] = (name, floats(tensor))
        else:
            whole[_checkpoint_name(name)] = floats(tensor)
    pairs = {
        f"{_checkpoint_name(module)}.weight": _pair(module, found, rank, factor) for module, found in parts.items()
    }
    return Adapter(pairs, whole=whole)


def _settings(config: Mapping[str, Any]) -> tuple[int, float]:
    said = config.get("lora_parameters")
    if not isinstance(said, dict):
        got = f"got {in_json(said)}" if "lora_parameters" in config else "which is missing"
        raise Error(f"'lora_parameters' expects an object with rank and scale, {got}", path=CONFIG)
    rank = said.get("rank")
    if type(rank) is not int or not 0 < rank < 1 << 20:
        got = f"got {in_json(rank)}" if "rank" in said else "which is missing"
        raise Error(f"'lora_parameters.rank' expects a whole number of 1 or more, {got}", path=CONFIG)
    factor = 1.0
    if "scale" not in said and "alpha" not in said:
        raise Error("'lora_parameters.scale' expects a number, which is missing", path=CONFIG)
    for key, divisor in (("scale", 1), ("alpha", rank)):
        value = said.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 3e38:
            raise Error(f"'lora_parameters.{key}' expects a number, got {in_json(value)}", path=CONFIG)
        if key in said:
            factor *= value / divisor
    return rank, factor


def _checkpoint_name(name: str) -> str:
    """What a checkpoint calls a module: MLX holds the experts of a block in one."""
    head, switch, part = name.partition(".switch_mlp.")
    if not switch:
        return name
    if head.endswith(".block_sparse_moe"):
        stem, dot, rest = part.partition(".")
        part = _MIXTRAL.get(stem, stem) + dot + rest
    return f"{head}.experts.{part}"


def _pair(module: str, found: Mapping[str, tuple[str, Expression]], rank: int, factor: float) -> Pair:
    if "lora_a" not in found or "lora_b" not in found:
        lacking = "lora_b" if "lora_a" in found else "lora_a"
        raise Error(
            f"'{shown(module)}' has half a pair: its {lacking} is missing",
            hint="the file is not whole: save the adapter again, or get it again",
        )
    a, b = found["lora_a"][1], found["lora_b"][1]
    magnitude = found["m"][1] if "m" in found else None
    files = tuple(name for name, _ in found.values())
    if module.endswith("embed_tokens"):
        # Its lora_a has a row for each token: the matrix is lora_a lora_b.
        fits = len(a.shape) == len(b.shape) == 2 and a.shape[1] == rank == b.shape[0]
        a, b = b, a
    elif len(b.shape) == 3:
        # Of experts: not transposed, and in old files with those of lora_a under one another.
        if len(a.shape) == 2 and a.shape[0] == b.shape[0] * rank:
            a = reshape(a, (b.shape[0], rank, a.shape[1]))
        fits = len(a.shape) == 3 and a.shape[:2] == (b.shape[0], rank) and b.shape[2] == rank
    else:
        fits = len(a.shape) == len(b.shape) == 2 and a.shape[1] == rank == b.shape[0]
    if not fits:
        turned = len(a.shape) == len(b.shape) == 2 and a.shape[0] == rank == b.shape[1]
        raise Error(
            f"the factors of '{shown(module)}' do not have the rank {rank:,} of the configuration",
            facts=[
                ("lora_a", f"{list(a.shape)}, expected [in, {rank}]"),
                ("lora_b", f"{list(b.shape)}, expected [{rank}, out]"),
            ],
            hint="the factors are transposed, as PEFT has them: save the adapter again"
            if turned
            else f"{CONFIG} is not this adapter's",
        )
    if len(b.shape) == 2 and not module.endswith("embed_tokens"):
        a, b = transpose(a), transpose(b)
    return Pair(a, b, factor, magnitude, files, module.endswith("embed_tokens"))
