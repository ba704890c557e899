"""Every checkpoint of the zoo: llama.cpp's runtime says with our file what transformers says with the checkpoint.

A table of all of them closes the run: how many positions, how often the likeliest token is the same, and the largest difference
of two log probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelbuild.tensors.formats.gguf import decode_value
from tests import checkpoints, recipes, zoo
from tests.steps import test_zoo

from . import test_encoders
from .conftest import ROWS
from .peers import Process

POSITIONS = 210
CASES = [(model_type, name) for model_type, name in test_zoo.CASES if zoo.cases(model_type)[name].logits]

LIMITS = dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text", "gemma4_text", "gpt_oss", "phi", "starcoder2"), 0.3)
LIMITS["qwen3_5_moe"] = LIMITS["nemotron_h"] = 0.005
LIMITS["glm_dsa"] = 3.0
"""How far log probabilities may lie apart (nats), where it is more than in most.

ggml takes GELU from a table of halves, and multiplies MXFP4 with activations in q8_0. The decays of a checkpoint in f16 are
rounded to that type. What an indexer chooses by is kept in halves too: of two tokens that are as good as each other it may take the
other one.
"""

UNREAD: dict[str, dict[str, Any]] = {"phi3": {"sliding_window": None}}
"""What the runtime does not look at (llama-model.cpp: "Phi SWA is currently disabled"), and transformers shall not either."""


Runtime = Callable[[zoo.Case], Process]
"""The process for a case: that with the transformers which has its class."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    started: dict[str, Process] = {}

    def of(case: zoo.Case) -> Process:
        variable = "TRANSFORMERS5_PYTHON" if case.newer else "PEERS_PYTHON"
        if variable not in started:
            started[variable] = Process(tmp_path_factory.mktemp("runtime"), "runtime.py", variable)
        return started[variable]

    yield of
    for process in started.values():
        process.close()


def text(vocabulary: int) -> list[int]:
    """Token ids, as good as random ones, without those that are special."""
    noise = checkpoints.values(POSITIONS, 7) * 2 + 0.5
    return [1, *(int(value) for value in 3 + noise * (min(vocabulary, 270) - 3))]


def made(case: zoo.Case, scratch: Path) -> dict[str, Any]:
    """The checkpoint, its f32 file, tokens to go on from, and one that is a letter."""
    folder = zoo.write(scratch / "model", case)
    recipe = recipes.converted(folder, "f32", case.pre, "drop" if case.mtp == "only" else case.mtp)
    path = scratch / "f32.gguf"
    path.write_bytes(recipes.file_of(recipe, recipes.Folder(folder).leaves()))
    tokens = decode_value(recipe.metadata["tokenizer.ggml.tokens"])
    letter = next(number for number, token in enumerate(tokens) if token in ("\u2581a", "a"))
    return {"folder": str(folder), "model": str(path), "tokens": text(len(tokens)), "letter": letter}


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), CASES)
def test_runtime_says_what_transformers_says(model_type: str, name: str, runtime: Runtime, tmp_path: Path) -> None:
    case = zoo.cases(model_type)[name]
    case = replace(case, config={**case.config, **UNREAD.get(model_type, {})})
    answer = runtime(case).ask(do="logits", **made(case, tmp_path))
    assert answer["error"] is None, answer["error"]
    positions, same, difference = answer["positions"], answer["same"], answer["difference"]
    ROWS.append((f"{model_type}: {name}", positions, 100 * same / positions, difference))
    assert positions >= 200
    assert same >= 0.95 * positions, answer
    assert difference < LIMITS.get(model_type, 0.001), answer


GO_ON_WITH_NOTHING = ("gemma4_assistant", *test_encoders.MODEL_TYPES)
"""A draft needs its model (`test_drafts`), and an encoder puts out no tokens (`test_encoders`)."""
OTHERS = [found for found in test_zoo.CASES if found not in CASES and found[0] not in GO_ON_WITH_NOTHING]

NO_CONTEXT = "transformers refuses config.json, so no context length is filled in"
NO_HEAD = "transformers refuses config.json, so no size of heads is filled in"
REFUSED = {
    ("gemma", "another model_type, no key heads"): "nothing is filled in, and the heads are not those of the weights",
    ("gpt_oss", "mxfp4, tied, f16"): "the runtime wants an output tensor",
    ("gpt_oss", "half a rope_scaling"): NO_HEAD,
    ("gpt_oss", "too many layer_types"): NO_HEAD,
    ("granite", "linear scaling in older words"): NO_CONTEXT,
    ("olmo2", "few keys, tied, f16"): "the runtime wants an output tensor",
    ("olmo2", "scaling that transformers refuses"): NO_CONTEXT,
    ("phi3", "biases"): "the runtime knows no biases of it",
    ("qwen2", "a head size of its own"): "the runtime reckons the size of heads",
    ("qwen2", "half of a scaling"): NO_CONTEXT,
    ("qwen2", "too many layer_types"): NO_CONTEXT,
    ("qwen3", "untied, biases, f16"): "the runtime knows no biases of it",
}
"""What the runtime refuses: llama.cpp's converter makes the same file."""


@pytest.mark.peer
@pytest.mark.parametrize(("model_type", "name"), OTHERS)
def test_runtime_loads_what_transformers_is_not_asked_about(model_type: str, name: str, tmp_path: Path) -> None:
    job = made(zoo.cases(model_type)[name], tmp_path)
    # A process for each: what the runtime cannot take may end it.
    process = Process(tmp_path, "runtime.py")
    answer = process.ask(do="load", **{**job, "tokens": job["tokens"][:64]})
    process.close()
    if (model_type, name) in REFUSED:
        assert answer["error"] is not None
    else:
        assert answer["error"] is None, answer["error"]
