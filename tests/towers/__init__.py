"""A zoo of tiny towers, one file of cases for each kind of projector: checkpoints without the weights of their text models."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from tests.zoo import Case

__all__ = ["Case", "Shapes", "blocks", "case", "cases", "kinds", "linear", "norm"]

Shapes = dict[str, tuple[int, ...]]

TEXT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "vocab_size": 300, "max_position_embeddings": 256}  # fmt: skip
IMAGES = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}


@cache
def kinds() -> tuple[str, ...]:
    """The files of cases."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def cases(kind: str) -> dict[str, Case]:
    found = importlib.import_module(f"{__name__}.{kind}").CASES
    assert isinstance(found, dict)
    return found


def case(
    name: str, config: Mapping[str, Any], shapes: Shapes, images: Mapping[str, Any] = IMAGES, **options: Any
) -> Case:
    """A checkpoint of a class. `logits` says whether its embeddings are compared with those of transformers."""
    files = {"preprocessor_config.json": json.dumps(images), **options.pop("files", {})}
    made = Case({"architectures": [name], **config}, shapes, tokenizer="", files=files)
    return replace(made, **options)


def linear(name: str, rows: int, columns: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (rows, columns), **({f"{name}.bias": (rows,)} if bias else {})}


def norm(name: str, size: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (size,), **({f"{name}.bias": (size,)} if bias else {})}


def blocks(count: int, shapes: Callable[[int], Iterable[Shapes]]) -> Shapes:
    """The tensors of each block."""
    return {name: shape for number in range(count) for part in shapes(number) for name, shape in part.items()}
