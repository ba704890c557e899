"""A Hugging Face folder for those who serve with transformers or vLLM: the weights before quantization, adapters merged into them.

Source: transformers, PreTrainedModel.from_pretrained; huggingface_hub, serialization (the names of shards and their index)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelbuild.errors import Error
from modelbuild.shapes._finished import MERGE, Entry, Finished, refuse

WANTS = "checkpoint"
SPLIT = "5GB"

INDEX = "model.safetensors.index.json"


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    for model in models:
        refuse(model, "transformers", {"adapter": MERGE})
        if not model.checkpoint:
            raise Error(
                f"'{model.label}' is not made from a folder of safetensors, and has no weights before quantization",
                hint="name such a folder in FROM, or export another shape",
            )
        home = "" if len(models) == 1 else f"{model.stem}/"
        for path, content in model.checkpoint.items():
            yield Entry(home + path, content, model.label, opens=path == INDEX)


def said(models: Sequence[Finished], folder: str) -> str:
    loader = "AutoModelForImageTextToText" if any(models[0].of("projector")) else "AutoModelForCausalLM"
    path = folder if len(models) == 1 else f"{folder}/{models[0].stem}"
    return f'in transformers: {loader}.from_pretrained("{path}")'
