"""A checkpoint that the tool converts: when it does, and what the plan makes beside it and of keys that are for our own conversion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.engine.graph import Graph
from modelbuild.errors import Errors
from modelbuild.plan import needs, preflight
from modelbuild.plan.interpreter import Interpreters
from tests import checkpoints, tooling, zoo
from tests.plan.test_plan import graph, planned
from tests.plan.test_sides import PREDICTING, SEEING, TOWER, kinds, seeing
from tests.zoo import bert

TOOLS = '[tools]\nllama_cpp = "llama.cpp"\npython = "python/bin/python"\n'
FROM = f'{TOOLS}[model.a]\nfrom = "./seeing"\n'
FALLBACK, ALONE = 'convert = ["native", "llama.cpp"]\n', 'convert = ["llama.cpp"]\n'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tools")
    tooling.write(root)
    return root


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # What an interpreter answers is for tests/plan/test_interpreter.py.
    monkeypatch.setattr(Interpreters, "answer", lambda self, python: {"torch": "2.13.0"})
    for name in ("llama.cpp", "python"):
        (tmp_path / name).symlink_to(root / name)
    return tmp_path


def converter(made: Graph) -> str:
    """Who makes the recipe of the model layer."""
    return "llama.cpp" if "a/converted" in made.steps else "native"


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("LlamaForCausalLM", FALLBACK, "native"),
        # A further name of a class of ours is ours.
        ("VLlama3ForCausalLM", FALLBACK, "native"),
        ("MysteryForCausalLM", FALLBACK, "llama.cpp"),
        ("MysteryForCausalLM", FALLBACK + 'architecture = "LlamaForCausalLM"\n', "native"),
        ("MysteryForCausalLM", "", "native"),
        ("LlamaForCausalLM", ALONE, "llama.cpp"),
    ],
)
def test_the_tool_converts_what_no_class_of_ours_reads(project: Path, name: str, said: str, expected: str) -> None:
    made = graph(project, FROM + said, seeing(name=name))
    assert converter(made) == expected
    if "architecture" in said:
        assert json.loads(made.steps["a/convert"].parameters)["architecture"] == "LlamaForCausalLM"


def test_an_architecture_that_nobody_knows_is_an_error_also_with_a_fallback(project: Path) -> None:
    with pytest.raises(Errors) as raised:
        graph(project, FROM + FALLBACK + 'architecture = "LlamaForCausalLn"\n', seeing(name="MysteryForCausalLM"))
    assert "architecture 'LlamaForCausalLn' is not supported yet" in str(raised.value.errors[0])


@pytest.mark.parametrize("said", ["", 'projector = "f32"\n'])
def test_the_projector_of_a_known_class_is_made_beside_what_the_tool_makes(project: Path, said: str) -> None:
    made = graph(project, f'{FROM}{ALONE}{said}quantize = "q8_0"\n', SEEING)
    assert converter(made) == "llama.cpp" and kinds(made) == ["model", "projector"]
    # The layer of the model takes the tool's tensors, that of the projector has its own.
    assert dict(made.steps["a/model"].inputs)["weights"] == "a/converted"
    assert "weights" not in dict(made.steps["a/projector"].inputs)
    assert "a/convert" not in made.steps
    assert kinds(graph(project, FROM + ALONE + "projector = false\n", SEEING)) == ["model"]


def test_of_an_unknown_class_the_tool_makes_a_model_of_text(project: Path) -> None:
    files = seeing(TOWER, "mtp.fc.weight", name="MysteryForConditionalGeneration")
    # The tower's class is one of ours, and the text's is not.
    text = {"architectures": ["MysteryForCausalLM"]}
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    for each in (files, {**files, "seeing/config.json": json.dumps(config)}):
        made = graph(project, FROM + FALLBACK, each)
        assert converter(made) == "llama.cpp" and kinds(made) == ["model"]


def test_pickled_weights_have_no_parts_of_ours(project: Path) -> None:
    files = {"seeing/config.json": SEEING["seeing/config.json"], "seeing/pytorch_model.bin": b"x"}
    made = graph(project, f"{FROM}{FALLBACK}trust = true\n", files)
    assert converter(made) == "llama.cpp" and kinds(made) == ["model"]


def test_a_draft_of_pickled_weights_is_an_error(project: Path) -> None:
    files = {**SEEING, "draft/config.json": "{}", "draft/pytorch_model.bin": b"x"}
    with pytest.raises(Errors) as raised:
        graph(project, FROM + 'draft = "./draft"\n', files)
    assert "ModelBuild.toml" in str(raised.value.errors[0]) and "'./draft'" in str(raised.value.errors[0])


def test_blocks_for_further_tokens_stay_as_the_tool_makes_them(project: Path) -> None:
    made = planned(project, f'{FROM}{ALONE}mtp = "split"\n', PREDICTING)
    assert converter(made.graph) == "llama.cpp" and kinds(made.graph) == ["model"]
    assert [each.what for each in made.warnings] == ["model 'a': 'mtp' has no effect: llama.cpp's converter makes 'a'"]
    assert planned(project, FROM + ALONE + 'mtp = "keep"\n', PREDICTING).warnings == []


def test_a_pre_tokenizer_is_set_in_what_the_tool_makes(project: Path) -> None:
    made = planned(project, FROM + ALONE + 'pre = "gpt-2"\n', PREDICTING)
    step = made.graph.steps[str(dict(made.graph.steps["a/model"].inputs)["recipe"])]
    assert (step.kind, json.loads(step.parameters)["metadata"]) == ("describe", {"tokenizer.ggml.pre": "gpt-2"})
    assert made.warnings == []


def test_the_tool_reads_the_class_of_the_checkpoint_and_it_is_said(project: Path) -> None:
    made = planned(project, FROM + ALONE + 'architecture = "Gemma3ForCausalLM"\n', PREDICTING)
    assert [each.what for each in made.warnings] == [
        "model 'a': 'architecture' has no effect: llama.cpp's converter makes 'a', by the class in config.json"
    ]


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("Gemma4ForConditionalGeneration", "", "gemma4"),
        ("Gemma4ForConditionalGeneration", ALONE, "gemma4"),
        ("LagunaForCausalLM", FALLBACK, "laguna"),
        # What the tool does not read as another class is no other one for the renderer either.
        ("LagunaForCausalLM", ALONE + 'architecture = "Gemma4ForConditionalGeneration"\n', "laguna"),
        ("MysteryForCausalLM", FALLBACK, None),
    ],
)
def test_a_renderer_follows_from_the_class_whoever_converts_it(
    project: Path, name: str, said: str, expected: str | None
) -> None:
    made = graph(project, FROM + said, seeing(name=name))
    assert json.loads(made.steps["a/config"].parameters).get("renderer") == expected


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("said", "tool", "clear"),
    [
        ('imatrix = { text = "t.txt" }\nquantize = "q4_K_M"\n', "llama-imatrix", 'imatrix = ""'),
        ('gate = { kld = 0.1, text = "t.txt" }\nquantize = "q8_0"\n', "llama-perplexity", 'gate = { kld = "" }'),
    ],
)
def test_a_model_of_embeddings_is_no_model_for_tools_that_read_what_is_foretold(
    project: Path, said: str, tool: str, clear: str, cached: bool
) -> None:
    zoo.write(project / "m", bert.case())
    toml = TOOLS + f'[defaults]\n{said}[model.a]\nfrom = "./m"\n'
    made = graph(project, toml, {"t.txt": "words " * 4000})
    wanted = [name for name, step in made.steps.items() if step.kind == "tool"]
    found = preflight.look(made, wanted if cached else None)
    (error,) = preflight.distinct(found.errors)
    assert tool in error.what and "'bert'" in error.what and clear in str(error.hint)
    assert error.path == str(project / "m") and ("used by", "'a'") in error.facts
    again = TOOLS + f'[defaults]\n{said}[model.a]\nfrom = "./m"\n{clear}\n'
    assert not any(step.kind == "tool" for step in graph(project, again, {}).steps.values())


def test_what_logits_take_is_told_by_the_models_vocabulary(project: Path) -> None:
    checkpoints.write(project / "m")
    toml = TOOLS + '[model.a]\nfrom = "./m"\nquantize = "q8_0"\ngate = { kld = 0.1, text = "t.txt", chunks = 500 }\n'
    made = graph(project, toml, {"t.txt": "words " * 2500})
    wanted = [name for name, step in made.steps.items() if step.kind == "tool"]
    needed = {need.step: need.disk for need in needs.of(made, preflight.look(made, wanted).files, wanted, str(project))}
    assert needed["a/logits"] == 20 + 3 * (4 * 512 + 255 * 2 * (288 + 4))
