"""llama.cpp's runtime drafts with blocks for the prediction of several tokens: behind the model's own, and as a file of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import recipes, zoo
from tests.zoo import gemma4_assistant, gemma4_text

from .peers import Process

CASES = {"qwen3_5": "text", "qwen3_5_moe": "text", "qwen3_next": "blocks for further tokens", "glm4_moe": "norms of heads, biases",
    "glm4_moe_lite": "a block for further tokens", "glm_dsa": "a block for further tokens",
}  # fmt: skip
TOKENS = [5, 40, 41, 42, 100, 101, 102, 60, 61]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("runtime"), "runtime.py")
    yield process
    process.close()


@pytest.mark.peer
@pytest.mark.parametrize("model_type", CASES)
def test_a_draft_changes_no_token(model_type: str, runtime: Process, tmp_path: Path) -> None:
    case = zoo.cases(model_type)[CASES[model_type]]
    folder = zoo.write(tmp_path / "model", case)
    leaves = recipes.Folder(folder).leaves()
    files = {mtp: tmp_path / f"{mtp}.gguf" for mtp in ("drop", "only", "keep")}
    for mtp, path in files.items():
        path.write_bytes(recipes.file_of(recipes.converted(folder, "f32", case.pre, mtp), leaves))
    found = []
    for model, draft in ((files["drop"], None), (files["drop"], str(files["only"])), (files["keep"], "")):
        answer = runtime.ask(do="draft", model=str(model), draft=draft, tokens=TOKENS, count=24)
        assert answer["error"] is None, answer["error"]
        found.append((answer["text"], answer["drafted"]))
    alone, beside, within = found
    assert alone[0] == beside[0] == within[0]
    assert alone[1] == 0 < beside[1] == within[1]


GEMMA4 = {**gemma4_text.CONFIG, **gemma4_text.LARGE, "hidden_size": 96}
ASSISTANT = {**gemma4_assistant.TEXT, "num_global_key_value_heads": 1, "attention_k_eq_v": True}
"""A model, and a draft that goes on from its states and uses its keys and values."""


@pytest.mark.peer
def test_a_draft_of_gemma_4_changes_no_token(runtime: Process, tmp_path: Path) -> None:
    cases = {
        "model": zoo.Case(GEMMA4, gemma4_text.shapes(GEMMA4), tokenizer="gemma4"),
        "draft": zoo.Case(
            {**gemma4_assistant.CONFIG, "text_config": ASSISTANT},
            gemma4_text.shapes(ASSISTANT) | gemma4_assistant.JOINING,
            tokenizer="gemma4",
        ),
    }
    files = {name: tmp_path / f"{name}.gguf" for name in cases}
    for name, case in cases.items():
        folder = zoo.write(tmp_path / name, case)
        files[name].write_bytes(recipes.file_of(recipes.converted(folder, "f32"), recipes.Folder(folder).leaves()))
    tokens = [2, 270, 275, 280, 284, 290, 291, 270, 288]
    alone, beside = (
        runtime.ask(do="draft", model=str(files["model"]), draft=draft, tokens=tokens, count=24)
        for draft in (None, str(files["draft"]))
    )
    assert alone["error"] is None and beside["error"] is None, (alone, beside)
    assert alone["text"] == beside["text"]
    assert alone["drafted"] == 0 < beside["drafted"]
