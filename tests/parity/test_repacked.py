"""NVFP4 in llama.cpp's runtime: a file with packed weights and their scales beside them says what their values say as floats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.tensors import quantization
from modelbuild.tensors.formats.gguf import decode_value
from tests import recipes, zoo

from .peers import Process
from .test_logits import text

CASES = (
    "Llama, modelopt NVFP4",
    "Llama, NVFP4 beside fp8",
    "Qwen3, NVFP4 with activations of 16 bits",
    "Qwen3 with experts, compressed-tensors NVFP4",
    "Qwen3.5 with heads of values in tiles, modelopt NVFP4",
)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("runtime"), "runtime.py")
    yield process
    process.close()


@pytest.mark.peer
@pytest.mark.parametrize("name", CASES)
def test_the_runtime_multiplies_by_the_scales(name: str, runtime: Process, tmp_path: Path) -> None:
    case = zoo.cases("packed")[name]
    folder = zoo.write(tmp_path / "model", case)
    leaves = recipes.Folder(folder).leaves()
    recipe = recipes.converted(folder, "f32", case.pre)
    sides = []
    for number, made in enumerate((quantization.quantize(recipe, "f32", requantize=True), recipe)):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(recipes.file_of(made, leaves))
        sides.append({"model": str(path), "adapters": []})
    tokens = decode_value(recipe.metadata["tokenizer.ggml.tokens"])
    letter = next(number for number, token in enumerate(tokens) if token in ("\u2581a", "a"))
    answer = runtime.ask(do="agree", sides=sides, tokens=text(len(tokens)), letter=letter)
    assert answer["error"] is None, answer["error"]
    # The runtime rounds activations to q8_0 where weights are NVFP4.
    assert answer["same"] >= 0.95 * answer["positions"], answer
    assert answer["difference"] < 1, answer
