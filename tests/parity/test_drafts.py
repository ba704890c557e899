"""llama.cpp's runtime drafts with blocks for the prediction of several tokens: behind the model's own, and as a file of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import recipes, zoo

from .peers import Process

CASES = {"qwen3_5": "text", "qwen3_5_moe": "text", "qwen3_next": "blocks for further tokens"}
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
