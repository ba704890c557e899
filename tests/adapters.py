"""Adapters of small checkpoints, as PEFT and MLX write them; no chance in them, and no torch needed to make them."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelbuild.checkpoint.adapters.files import GGUF, MLX, PEFT, TOKENS
from modelbuild.tensors.formats import gguf, safetensors
from modelbuild.tensors.recipe import Expression, Recipe
from modelbuild.tensors.tensor import TensorTable

from . import recipes
from .checkpoints import SAFETENSORS_NAMES, encode, save, values

ALL = r".*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj|qkv_proj|gate_up_proj|w1|w2|w3)"
"""What most adapters change: the projections."""


def matrix(name: str, *shape: int) -> NDArray[np.float32]:
    """Values below 0.2 that follow from a name."""
    return (values(int(np.prod(shape)), zlib.crc32(name.encode())) * np.float32(1.6)).reshape(shape)


def factors(
    shapes: Mapping[str, tuple[int, ...]], targets: str = ALL, rank: int = 4
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Module -> its `A` and `B`, as PEFT has them, for each matrix of a checkpoint that is a target."""
    found = {}
    for name, shape in shapes.items():
        module = name.removesuffix(".weight")
        if module != name and len(shape) == 2 and re.fullmatch(targets, module):
            found[module] = {
                "A": matrix(f"{module}.A", rank, shape[1]),
                "B": matrix(f"{module}.B", shape[0], rank),
            }
    assert found, targets
    return found


def write_peft(
    folder: Path,
    pairs: Mapping[str, Mapping[str, NDArray[np.float32]]],
    *,
    dtype: str = "f32",
    more: Mapping[str, NDArray[np.float32]] | None = None,
    without: tuple[str, ...] = (),
    **config: Any,
) -> Path:
    """Write a PEFT folder; `more` are further tensors by their whole names, `without` keys of the configuration to leave out."""
    tensors = {
        f"base_model.model.{module}.lora_{half}.weight": x for module, pair in pairs.items() for half, x in pair.items()
    }
    rank = next((pair["A"].shape[0] for pair in pairs.values()), 4)
    said = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "task_type": "CAUSAL_LM",
        **config,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(
        json.dumps({key: value for key, value in said.items() if key not in without})
    )
    store(folder / PEFT, {**tensors, **(more or {})}, dtype)
    return folder


def write_mlx(
    folder: Path, pairs: Mapping[str, Mapping[str, NDArray[np.float32]]], *, scale: float = 2.0, old: bool = False, dtype: str = "f32"
) -> Path:  # fmt: skip
    """The same factors as mlx-lm writes them: transposed, with a scale that is not divided by the rank."""
    tensors = {}
    for module, pair in pairs.items():
        tensors[f"{module}.lora_a"] = np.ascontiguousarray(pair["A"].T)
        tensors[f"{module}.lora_b"] = np.ascontiguousarray(pair["B"].T)
    rank = next(iter(pairs.values()))["A"].shape[0]
    config: dict[str, Any] = {"fine_tune_type": "lora", "num_layers": 2}
    parameters: dict[str, Any] = {"rank": rank, "scale": scale, "dropout": 0.0}
    if old:
        config = {"lora_layers": 2}
        parameters = {"rank": rank, "alpha": float(rank), "scale": scale, "dropout": 0.0}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**config, "lora_parameters": parameters}))
    store(folder / MLX, tensors, dtype)
    return folder


def store(path: Path, tensors: Mapping[str, NDArray[np.float32]], dtype: str = "f32") -> None:
    save(
        path,
        {name: (SAFETENSORS_NAMES[dtype], x.shape, encode(x.ravel(), dtype)) for name, x in tensors.items()},
        {"format": "pt"},
    )


class Files:
    """An adapter and the recipe of its model as the inputs of a step."""

    def __init__(self, path: Path, base: Recipe) -> None:
        self._folder = path if path.is_dir() else path.parent
        here = [name for name in (PEFT, MLX) if (self._folder / name).is_file()]
        self._weights = path if path.is_file() else self._folder / here[0]
        self._base = base

    @property
    def _role(self) -> str:
        return GGUF if self._weights.suffix == ".gguf" else self._weights.name

    def roles(self) -> list[str]:
        beside = [name for name in TOKENS if (self._folder / name).is_file()]
        return ["recipe", self._role, "adapter_config.json", "README.md", *beside]

    def artifact(self, role: str) -> bytes:
        assert role == "recipe"
        return self._base.encode()

    def recipe(self, role: str) -> Recipe:
        return Recipe.decode(self.artifact(role))

    def file(self, role: str) -> bytes | None:
        path = self._folder / role
        return path.read_bytes() if path.is_file() else None

    def tables(self) -> list[tuple[str, TensorTable]]:
        survey = gguf.survey if self._role == GGUF else safetensors.survey
        return [(self._role, survey(str(self._weights)).table)]

    def values(self, x: Expression) -> bytes:
        return recipes.evaluate(x, self.leaves())

    def leaves(self) -> dict[str, bytes]:
        """The bytes of every tensor of the adapter, by digest."""
        data = self._weights.read_bytes()
        ((_, table),) = self.tables()
        return {t.digest: data[t.offset : t.offset + t.length] for t in table.tensors.values()}
