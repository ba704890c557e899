"""`.ci/follow`: the pins that it moves, and what it says of two releases of llama.cpp."""

from __future__ import annotations

import shutil
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def follow() -> Any:
    loader = SourceFileLoader("follow", str(ROOT / ".ci/follow"))
    spec = spec_from_loader("follow", loader)
    assert spec is not None
    module = module_from_spec(spec)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = kept
    return module


BASE = "class ModelBase:\n    pass\n\nclass TextModel(ModelBase):\n    def one(self):\n        return 1\n"
LLAMA = '@ModelBase.register("LlamaForCausalLM", "MistralForCausalLM")\nclass LlamaModel(TextModel):\n    x = 1\n'
QWEN = '@ModelBase.register("QwenForCausalLM")\nclass QwenModel(LlamaModel):\n    y = 1\n'


def source(folder: Path, **files: str) -> Path:
    for name, text in {"base": BASE, "llama": LLAMA, "qwen": QWEN, **files}.items():
        path = folder / "conversion" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


OURS = {"llama": ("LlamaForCausalLM",), "qwen": ("QwenForCausalLM",)}


def test_nothing_changed(follow: Any, tmp_path: Path) -> None:
    lines = follow.report(source(tmp_path / "old"), source(tmp_path / "new"), OURS)
    assert [line.split() for line in lines] == [[name, "unchanged"] for name in ("shared", "llama", "qwen")]


def test_a_change_is_told_of_each_architecture_that_it_reaches(follow: Any, tmp_path: Path) -> None:
    new = source(
        tmp_path / "new",
        base=BASE.replace("return 1", "return 2"),
        llama=LLAMA.replace("x = 1", "x = 2\n    z = 3"),
        qwen=QWEN.replace("QwenForCausalLM", "Qwen9ForCausalLM"),
    )
    (new / "src/models").mkdir(parents=True)
    (new / "src/models/qwen.cpp").write_text("one\n")
    lines = follow.report(source(tmp_path / "old"), new, OURS)
    assert [" ".join(line.split()) for line in lines] == [
        "shared TextModel: one +1 -1",
        "llama LlamaModel (conversion/llama.py) +2 -1",
        "qwen LlamaModel (conversion/llama.py) +2 -1; QwenForCausalLM is no longer read; src/models/qwen.cpp +1 -0",
        "new classes Qwen9ForCausalLM",
    ]


def test_all_pins_are_moved_and_nothing_else(follow: Any, tmp_path: Path) -> None:
    for name in follow.PINNED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    before = follow.pins(tmp_path)
    assert follow.move("9.9.9", "8.8.8", tmp_path) == [*follow.PINNED]
    assert follow.pins(tmp_path) == ("9.9.9", "8.8.8")
    for name in follow.PINNED:
        old, new = (ROOT / name).read_text(), (tmp_path / name).read_text()
        assert f"llama-cpp-python {before[0]}" not in new and f"llama_cpp_python={before[0]}" not in new
        assert new.replace("9.9.9", before[0]).replace("8.8.8", before[1]) == old
    # What runs in environments of its own has a pin of its own.
    assert (ROOT / ".ci/peers").read_text().count("transformers5=") == (tmp_path / ".ci/peers").read_text().count(
        "transformers5="
    )


def test_goldens_that_changed(follow: Any) -> None:
    was = {"llama": {"recorded with": 1, "plain": 1, "tied": 2}}
    now = {"llama": {"recorded with": 2, "plain": 1, "tied": 3}, "new": {"recorded with": 2, "one": 1}}
    assert [" ".join(line.split()) for line in follow.renewed(was, now)] == [
        "llama 1 of 2 recorded anew: tied",
        "new 1 of 1 recorded anew: one",
    ]


def test_our_architectures_are_found_with_their_classes(follow: Any) -> None:
    found = follow.architectures()
    assert "LlamaForCausalLM" in found["llama"] and "Qwen3MoeForCausalLM" in found["qwen3moe"]
