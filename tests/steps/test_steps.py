"""The folder of step kinds: each says what it makes and how it is asked, and the planner asks no other way."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelbuild import steps
from modelbuild.tensors import operations
from tests import tooling
from tests.plan.test_plan import CHECKPOINT, chatting, gguf_file, graph, library
from tests.plan.test_sides import SEEING

KINDS = sorted(
    path.stem.rstrip("_") for path in Path(steps.__file__).parent.glob("*.py") if not path.stem.startswith("_")
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_the_folder_is_a_kind_with_all_its_parts(kind: str) -> None:
    module = steps.module(kind)
    assert steps.kind_of(module) == kind
    assert module.POOL in ("", "thread", "cores")
    assert (steps.recipe_kind(kind) is module) is (module.MAKES == "recipe")


@pytest.mark.parametrize("lacking", ["VERSION", "MAKES", "POOL", "Parameters", "run", "look", "TYPES"])
def test_a_kind_that_lacks_a_part_is_none(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[str, Any] = {"VERSION": 1, "MAKES": "recipe", "POOL": "", "Parameters": dict, "run": len}
    toy = ModuleType("modelbuild.steps.toy")
    vars(toy).update({name: part for name, part in {**parts, "look": len, "TYPES": True}.items() if name != lacking})
    monkeypatch.setitem(sys.modules, toy.__name__, toy)
    with pytest.raises(AssertionError, match=f"modelbuild.steps.toy lacks {lacking}"):
        steps.module("toy")


PROJECT = """
[ftype.mine]
base = "q4_K_M"
tensors = { attn_v = "q8_0" }
[model.a]
from = "./weights"
pre = "llama-bpe"
quantize = "mine"
imatrix = "x.dat"
allow_requantize = true
system = "S"
license = "L"
renderer = "r"
parser = "p"
requires = "0.1"
parameters = { top_k = 1 }
messages = [{ role = "user", content = "hi" }]
metadata = { "general.name" = "N" }
[model.b]
from = "./x.gguf"
link = "hard"
draft = "x.gguf"
[model.c]
from = "base"
adapters = [{ path = "lora", allow_zero = true }]
[model.d]
from = "./q.gguf"
adapters = [{ path = "lora", mode = "merge", allow_zero = true }]
allow_requantize = true
[model.e]
from = "./weights"
adapters = [{ path = "lora", mode = "merge" }]
export = [{ as = "safetensors", path = "out" }]
[model.f]
from = "./seeing"
[model.g]
from = "./weights"
projector = false
[model.h]
from = "./weights"
convert = ["llama.cpp"]
quantize = "q4_0"
imatrix = { text = "x.dat" }
gate = { kld = 1 }
[tools]
llama_cpp = "llama.cpp"
python = "python/bin/python"
"""


def test_the_planner_asks_with_the_parameters_that_a_kind_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations.get("cast"), "VERSION", 2)
    files = {
        **CHECKPOINT,
        **chatting(),
        **SEEING,
        **library(tmp_path),
        "x.gguf": gguf_file(),
        "q.gguf": gguf_file(dtype="q8_0"),
        "x.dat": b"x",
    }
    files |= {"lora/adapter_model.safetensors": b"x"}
    tooling.write(tmp_path)
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for step in graph(tmp_path, PROJECT, files).steps.values():
        known = steps.module(step.kind).Parameters
        said = json.loads(step.parameters).keys()
        assert known.__required_keys__ <= said <= known.__annotations__.keys(), step.name
        seen[step.kind] |= said
    # All that a kind names is said by somebody: capabilities by a base of a models folder, a plugin by a checkpoint of its class,
    # what becomes of blocks for further tokens by a checkpoint that has them, another class where the project says one.
    left = {kind: steps.module(kind).Parameters.__annotations__.keys() - said for kind, said in seen.items()}
    assert left == {
        kind: {"config": {"capabilities"}, "convert": {"plugin", "mtp", "architecture"}, "merge": {"mtp"}}.get(
            kind, set()
        )
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_of_a_kind_is_light(kind: str) -> None:
    """Planning and showing import all of them; numpy and the readers of tokenizers come with the work."""
    import subprocess

    module = steps.module(kind).__name__
    heavy = (
        "numpy",
        "modelbuild.tensors.recipe",
        "modelbuild.checkpoint.architectures",
        "modelbuild.checkpoint.conversion",
    )
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
