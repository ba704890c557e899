"""Side layers: which parts of a checkpoint become layers, of which type, and which edits reach them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.engine.graph import Graph, Source

from .test_plan import gguf_file, graph, layers, planned

TOWER = "vision_tower.vision_model.post_layernorm.weight"


def seeing(*tensors: str, name: str = "Gemma3ForConditionalGeneration") -> dict[str, str | bytes]:
    """A checkpoint of a class that has a projector, by its index."""
    index = {"weight_map": dict.fromkeys(["model.norm.weight", *tensors], "model-00001-of-00001.safetensors")}
    return {
        "seeing/config.json": json.dumps({"architectures": [name]}),
        "seeing/model.safetensors.index.json": json.dumps(index),
        "seeing/model-00001-of-00001.safetensors": b"x",
    }


SEEING = seeing(TOWER)
FROM = '[model.a]\nfrom = "./seeing"\n'


def kinds(made: Graph, label: str = "a") -> list[str]:
    return [kind for kind, _ in layers(made, label)]


def outtypes(made: Graph) -> dict[str, str]:
    """The type of each conversion of a projector, by the name of its step."""
    found = {name: json.loads(step.parameters) for name, step in made.steps.items() if step.kind == "convert"}
    return {name: values["outtype"] for name, values in found.items() if values.get("part") == "projector"}


def test_a_checkpoint_with_a_tower_gives_a_model_and_a_projector(tmp_path: Path) -> None:
    made = graph(tmp_path, FROM, SEEING)
    assert kinds(made) == ["model", "projector"]
    assert outtypes(made) == {"a/convert-projector": "auto"}
    inputs = dict(made.steps["a/convert-projector"].inputs)
    assert {"config.json", "preprocessor_config.json"} <= inputs.keys()
    # An edit of these is none of the projector's.
    assert inputs.keys().isdisjoint({"tokenizer.model", "chat_template.jinja", "merges.txt"})
    assert "preprocessor_config.json" not in dict(made.steps["a/convert"].inputs)


def test_a_single_file_of_weights_is_asked_for_its_tensors(tmp_path: Path) -> None:
    header = json.dumps({TOWER: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    files = {
        "seeing/config.json": SEEING["seeing/config.json"],
        "seeing/model.safetensors": len(header).to_bytes(8, "little") + header + bytes(4),
    }
    assert kinds(graph(tmp_path, FROM, files)) == ["model", "projector"]


@pytest.mark.parametrize(
    "files",
    [
        seeing(),
        seeing(TOWER, name="LlamaForCausalLM"),
        {**SEEING, "seeing/config.json": "{"},
        {"seeing/config.json": SEEING["seeing/config.json"], "seeing/model.safetensors": b"cut"},
    ],
    ids=["no tower", "another class", "no config", "no tensors"],
)
def test_what_has_no_tower_gives_a_model_of_text(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert kinds(graph(tmp_path, FROM, files)) == ["model"]


@pytest.mark.parametrize("said", ["false", '""'])
def test_a_projector_that_is_not_wanted_is_not_converted(tmp_path: Path, said: str) -> None:
    made = graph(tmp_path, f"{FROM}projector = {said}\n", SEEING)
    assert kinds(made) == ["model"]
    assert outtypes(made) == {}


def test_a_projector_has_a_type_of_its_own(tmp_path: Path) -> None:
    made = graph(tmp_path, f'{FROM}outtype = "f32"\nquantize = "q4_K_M"\nprojector = "Q8_0"\n', SEEING)
    assert outtypes(made) == {"a/convert-projector": "q8_0"}
    assert json.loads(made.steps["a/convert"].parameters)["outtype"] == "f32"


def test_rows_share_a_projector_and_may_choose_their_own(tmp_path: Path) -> None:
    toml = f'{FROM}[model.a.matrix]\nquantize = ["q8_0", "q4_K_M"]\n'
    assert len(outtypes(graph(tmp_path, toml, SEEING))) == 1
    toml = f'{FROM}[model.a.matrix]\nprojector = ["f16", "q8_0", "none.gguf"]\n'
    with pytest.raises(Exception, match=r"no such file: 'none\.gguf'"):
        graph(tmp_path, toml, SEEING)
    toml = f'{FROM}[model.a.matrix]\nprojector = ["f16", "q8_0"]\n'
    assert sorted(outtypes(graph(tmp_path, toml, SEEING)).values()) == ["f16", "q8_0"]


def test_a_file_replaces_the_projector_of_a_checkpoint(tmp_path: Path) -> None:
    made = graph(tmp_path, f'{FROM}projector = "p.gguf"\n', {**SEEING, "p.gguf": gguf_file("mmproj")})
    assert kinds(made) == ["model", "projector"]
    assert outtypes(made) == {}
    assert dict(made.steps["a/projector"].inputs)["file"] == Source(str(tmp_path / "p.gguf"), "gguf")


BASED = f'{FROM}[model.b]\nfrom = "a"\n'


def test_a_model_based_on_one_has_its_projector(tmp_path: Path) -> None:
    assert layers(graph(tmp_path, BASED, SEEING), "b") == [("model", "a:latest"), ("projector", "a:latest")]


def test_a_model_based_on_one_may_have_another_projector(tmp_path: Path) -> None:
    made = graph(tmp_path, f'{BASED}projector = "f32"\n', SEEING)
    assert layers(made, "b") == [("model", "a:latest"), ("projector", "")]
    assert outtypes(made) == {"a/convert-projector": "auto", "b/convert-projector": "f32"}
    made = graph(tmp_path, f'{BASED}projector = "p.gguf"\n', {**SEEING, "p.gguf": gguf_file("mmproj")})
    assert layers(made, "b") == [("model", "a:latest"), ("projector", "")]
    assert layers(graph(tmp_path, f"{BASED}projector = false\n", SEEING), "b") == [("model", "a:latest")]
    blind = BASED.replace("[model.b]", "projector = false\n[model.b]")
    assert layers(graph(tmp_path, f'{blind}projector = "auto"\n', SEEING), "b") == [
        ("model", "a:latest"),
        ("projector", ""),
    ]


def test_a_type_without_a_tower_has_no_effect(tmp_path: Path) -> None:
    for toml, files in (
        (f'{FROM}projector = "q8_0"\n', seeing()),
        ('[model.a]\nfrom = "./x.gguf"\nprojector = "f16"\n', {}),
    ):
        made = planned(tmp_path, toml, {**files, "x.gguf": gguf_file()})
        (warning,) = [each for each in made.warnings if "projector" in each.what]
        assert "'projector' has no effect" in warning.what
        assert warning.hint is not None and warning.hint.startswith("remove it")


def test_what_is_done_to_the_text_model_leaves_the_projector_as_it_is(tmp_path: Path) -> None:
    plain = graph(tmp_path, f'{FROM}system = "one"\n', SEEING)
    lora = {"lora/adapter_config.json": "{}", "lora/adapter_model.safetensors": b"x"}
    changed = f"""{FROM}system = "two"
metadata = {{ "general.name" = "N" }}
quantize = "q4_K_M"
adapters = [{{ path = "lora", mode = "merge" }}]
"""
    made = graph(tmp_path, changed, {**SEEING, **lora})
    for name in ("a/convert-projector", "a/projector"):
        assert made.steps[name] == plain.steps[name]


@pytest.mark.parametrize("said", ["true", "3", "[]"])
def test_other_values_are_refused(tmp_path: Path, said: str) -> None:
    with pytest.raises(Exception, match=r"'projector' expects"):
        graph(tmp_path, f"{FROM}projector = {said}\n", SEEING)


# Blocks for the prediction of several tokens

HEAD = "mtp.fc.weight"
PREDICTING = seeing(HEAD, name="Qwen3_5ForCausalLM")


def conversions(made: Graph) -> dict[str, tuple[str | None, str | None]]:
    """The part and what becomes of these blocks, of each conversion."""
    found = {name: json.loads(step.parameters) for name, step in made.steps.items() if step.kind == "convert"}
    return {name: (values.get("part"), values.get("mtp")) for name, values in found.items()}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", {"a/convert": (None, None)}),
        ('mtp = "keep"', {"a/convert": (None, None)}),
        ('mtp = "drop"', {"a/convert": (None, "drop")}),
        ('mtp = "split"', {"a/convert": (None, "drop"), "a/convert-draft": ("draft", None)}),
    ],
)
def test_what_becomes_of_blocks_for_further_tokens(
    tmp_path: Path, said: str, expected: dict[str, tuple[str | None, str | None]]
) -> None:
    made = graph(tmp_path, f"{FROM}{said}\n", PREDICTING)
    assert conversions(made) == expected
    assert kinds(made) == (["model", "draft"] if "split" in said else ["model"])
    assert json.loads(made.steps["a/config"].parameters).get("draft") == (
        {"model_format": "gguf"} if "split" in said else None
    )


def test_a_split_is_quantized_as_its_model_is(tmp_path: Path) -> None:
    toml = f'[defaults]\nmtp = "split"\n{FROM}quantize = "q4_K_M"\n'
    toml += '[model.b]\nfrom = "a"\nquantize = "q8_0"\n[model.c]\nfrom = "a"\nsystem = "S"\n'
    made = graph(tmp_path, toml, PREDICTING)
    assert dict(made.steps["a/quantize-draft"].inputs) == {"recipe": "a/convert-draft"}
    assert dict(made.steps["b/quantize-draft"].inputs) == {"recipe": "a/convert-draft"}
    assert json.loads(made.steps["b/quantize-draft"].parameters)["ftype"] == "q8_0"
    assert layers(made, "b") == [("model", ""), ("draft", "")]
    assert layers(made, "c") == [("model", "a:latest"), ("draft", "a:latest"), ("system", "")]


@pytest.mark.parametrize("said", ['draft = ""', 'draft = "d.gguf"'])
def test_a_draft_that_is_said_goes_before_the_checkpoints_own(tmp_path: Path, said: str) -> None:
    files = {**PREDICTING, "d.gguf": gguf_file()}
    made = graph(tmp_path, f'{FROM}mtp = "split"\n{said}\n', files)
    assert conversions(made) == {"a/convert": (None, "drop")}
    assert kinds(made) == (["model"] if said.endswith('""') else ["model", "draft"])


@pytest.mark.parametrize("where", ["[defaults]\npre = 'gpt-2'\n" + FROM, FROM + "pre = 'gpt-2'\n"])
def test_a_draft_of_its_own_folder_splits_text_as_its_model_does(tmp_path: Path, where: str) -> None:
    small = {name.replace("seeing/", "small/"): data for name, data in seeing().items()}
    made = graph(tmp_path, f'{where}draft = "small"\n', {**PREDICTING, **small})
    assert kinds(made) == ["model", "draft"]
    assert json.loads(made.steps["a/convert-draft"].parameters)["pre"] == "gpt-2"


@pytest.mark.parametrize("files", [seeing(name="Qwen3_5ForCausalLM"), seeing(HEAD, name="LlamaForCausalLM")])
def test_without_such_blocks_nothing_is_split_and_it_is_said(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    made = planned(tmp_path, f'{FROM}mtp = "split"\n', files)
    assert conversions(made.graph) == {"a/convert": (None, None)}
    (warning,) = made.warnings
    assert "'mtp' has no effect" in str(warning)
    assert planned(tmp_path, f'[defaults]\nmtp = "split"\n{FROM}', files).warnings == []
