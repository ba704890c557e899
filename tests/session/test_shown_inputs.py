"""A tool of many files is one input in pictures; everything else stands there by itself."""

from __future__ import annotations

from pathlib import Path

from modelbuild.cli.commands import graph as command
from modelbuild.engine.graph import Source
from modelbuild.session import shown_inputs
from tests import tooling
from tests.plan.test_plan import CHECKPOINT, graph


def test_a_tool_is_one_input(tmp_path: Path) -> None:
    tooling.write(tmp_path)
    toml = '[tools]\nllama_cpp = "llama.cpp"\npython = "python/bin/python"\n'
    toml += '[model.a]\nfrom = "./weights"\nconvert = ["llama.cpp"]\n'
    made = graph(tmp_path, toml, CHECKPOINT)
    (step,) = (step for step in made.steps.values() if step.kind == "tool")
    files = [role for role, _ in step.inputs if role.startswith("tool/")]
    assert len(files) > 2
    shown = shown_inputs.of(step)
    assert len(shown) == len(step.inputs) - len(files) + 1
    (one,) = (each for each in shown if each.others)
    assert isinstance(one.ref, Source) and one.ref.path.endswith("convert_hf_to_gguf.py")
    assert one.label("x") == f"x and {len(files) - 1} more of the tool"
    text = "\n".join(command._steps(made, str(tmp_path)))
    assert text.count("llama.cpp/") == 1 and "more of the tool" in text
    nodes = [node for node in command._nodes_of_steps(made, str(tmp_path)) if "llama.cpp/" in node.label]
    assert len(nodes) == 1 and nodes[0].arrows == [("step", step.name)]
