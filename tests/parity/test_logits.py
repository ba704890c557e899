"""Every checkpoint of the zoo: llama.cpp's runtime says with our file what transformers says with the checkpoint.

A table of all of them closes the run: how many positions, how often the likeliest token is the same, and the largest difference
of two log probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.formats.gguf import decode_value

from .. import checkpoints, recipes, test_zoo, zoo
from .conftest import ROWS
from .peers import Process

POSITIONS = 210
CASES = [(model_type, name) for model_type, name in test_zoo.CASES if zoo.cases(model_type)[name].logits]

LIMITS = {"gemma": 0.3, "gemma2": 0.3, "gemma3": 0.3, "gemma3_text": 0.3, "gpt_oss": 0.3}
"""How far log probabilities may lie apart (nats), where it is more than in most.

ggml takes GELU from a table of halves, and multiplies MXFP4 with activations in q8_0.
"""

UNREAD: dict[str, dict[str, Any]] = {"phi3": {"sliding_window": None}}
"""What the runtime does not look at (llama-model.cpp: "Phi SWA is currently disabled"), and transformers shall not either."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("runtime"), "runtime.py")
    yield process
    process.close()


def text(vocabulary: int) -> list[int]:
    """Token ids, as good as random ones, without those that are special."""
    noise = checkpoints.values(POSITIONS, 7) * 2 + 0.5
    return [1, *(int(value) for value in 3 + noise * (min(vocabulary, 270) - 3))]


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), CASES)
def test_runtime_says_what_transformers_says(model_type: str, name: str, runtime: Process, tmp_path: Path) -> None:
    case = zoo.cases(model_type)[name]
    case = replace(case, config={**case.config, **UNREAD.get(model_type, {})})
    folder = zoo.write(tmp_path / "model", case)
    recipe = recipes.converted(folder, "f32", case.pre)
    path = tmp_path / "f32.gguf"
    path.write_bytes(recipes.file_of(recipe, recipes.Folder(folder).leaves()))
    vocabulary = {**case.config, **case.config.get("text_config", {})}.get("vocab_size", 270)
    tokens = decode_value(recipe.metadata["tokenizer.ggml.tokens"])
    letter = next(number for number, token in enumerate(tokens) if token in ("\u2581a", "a"))
    job = {"folder": str(folder), "model": str(path), "tokens": text(vocabulary), "letter": letter}
    answer = runtime.ask(do="logits", **job)
    assert answer["error"] is None, answer["error"]
    positions, same, difference = answer["positions"], answer["same"], answer["difference"]
    ROWS.append((f"{model_type}: {name}", positions, 100 * same / positions, difference))
    assert positions >= 200
    assert same >= 0.95 * positions, answer
    assert difference < LIMITS.get(model_type, 0.001), answer
