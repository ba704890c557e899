"""What a variant does to weights: in which order, and from which recipe each step starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelbuild.engine.graph import Graph, Source
from modelbuild.errors import Errors
from tests import tooling
from tests.plan.test_plan import CHECKPOINT, gguf_file, graph, library
from tests.plan.test_sides import PREDICTING, TOWER, seeing

LORA: dict[str, str | bytes] = {"lora/adapter_config.json": "{}", "lora/adapter_model.safetensors": b"x"}


def recipe(made: Graph, step: str) -> Source | str:
    return dict(made.steps[step].inputs)["recipe"]


def test_adapters_are_merged_before_metadata_and_that_before_quantization(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\nquantize = "q8_0"\nmetadata = { general.name = "N" }\n'
    made = graph(tmp_path, toml + 'adapters = [{ path = "lora", mode = "merge" }]\n', {**CHECKPOINT, **LORA})
    assert recipe(made, "a/merge") == "a/convert"
    assert recipe(made, "a/describe") == "a/merge"
    assert recipe(made, "a/quantize") == "a/describe"
    assert recipe(made, "a/model") == "a/quantize"


def test_an_adapter_goes_into_the_draft_that_the_checkpoint_gives(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./seeing"\nquantize = "q8_0"\nmtp = "split"\nadapters = [{ path = "lora", mode = "merge" }]\n'
    toml += '[model.b]\nfrom = "a"\nadapters = [{ path = "more", mode = "merge" }]\n'
    files = {**PREDICTING, **LORA, **{name.replace("lora", "more"): data for name, data in LORA.items()}}
    made = graph(tmp_path, toml, files)
    assert recipe(made, "a/merge-draft") == "a/convert-draft"
    assert recipe(made, "a/quantize-draft") == "a/merge-draft"
    assert recipe(made, str(recipe(made, "b/draft"))) == "a/quantize-draft"
    parts = {name: json.loads(made.steps[name].parameters).get("mtp") for name in ("a/merge", "a/merge-draft")}
    assert parts == {"a/merge": "drop", "a/merge-draft": "only"}


@pytest.mark.parametrize("more", ['draft = ""\n', 'draft = "d.gguf"\n', 'mtp = "keep"\n'])
def test_an_adapter_goes_into_no_other_draft(tmp_path: Path, more: str) -> None:
    toml = '[model.a]\nfrom = "./seeing"\nmtp = "split"\n[model.b]\nfrom = "a"\n' if "keep" not in more else ""
    toml += "" if toml else '[model.b]\nfrom = "./seeing"\n'
    made = graph(
        tmp_path,
        f'{toml}adapters = [{{ path = "lora", mode = "merge" }}]\n{more}',
        {**PREDICTING, **LORA, "d.gguf": gguf_file()},
    )
    assert "b/merge" in made.steps and "b/merge-draft" not in made.steps


def test_what_is_quantized_again_starts_from_the_weights(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\nquantize = "q8_0"\n[model.b]\nfrom = "a"\nquantize = "q4_0"\n'
    made = graph(tmp_path, toml, CHECKPOINT)
    assert recipe(made, "a/quantize") == recipe(made, "b/quantize") == "a/convert"


@pytest.mark.parametrize(
    ("key", "measured"), [("general.name", "a/convert"), ("tokenizer.chat_template", "a/describe")]
)
def test_a_matrix_is_measured_without_metadata_that_no_runtime_computes_with(
    tmp_path: Path, key: str, measured: str
) -> None:
    tooling.write(tmp_path)
    toml = f'[tools]\nbinaries = "llama.cpp/bin"\n[model.a]\nfrom = "./weights"\nquantize = "q4_0"\nmetadata = {{ "{key}" = "x" }}\n'
    made = graph(tmp_path, toml + 'imatrix = { text = "x.txt" }\n', {**CHECKPOINT, "x.txt": "words"})
    assert recipe(made, "a/unquantized") == measured
    assert dict(made.steps["a/quantize"].inputs) == {"recipe": "a/describe", "made": "a/imatrix"}


def test_a_draft_is_quantized_with_the_matrix_that_a_tool_makes(tmp_path: Path) -> None:
    tooling.write(tmp_path)
    toml = '[tools]\nbinaries = "llama.cpp/bin"\n[model.a]\nfrom = "./seeing"\nquantize = "q4_0"\nmtp = "split"\n'
    toml += 'imatrix = { text = "x.txt" }\ngate = { kld = 1 }\n'
    made = graph(tmp_path, toml, {**PREDICTING, "x.txt": "words"})
    assert dict(made.steps["a/quantize-draft"].inputs) == {"recipe": "a/convert-draft", "made": "a/imatrix"}
    # The gate looks at the model alone.
    assert "a/model" in dict(made.steps["a/divergence"].inputs).values()


def test_a_gate_is_for_the_text_model_of_a_checkpoint_with_a_projector(tmp_path: Path) -> None:
    tooling.write(tmp_path)
    toml = '[tools]\nbinaries = "llama.cpp/bin"\n[model.a]\nfrom = "./seeing"\nquantize = "q4_0"\n'
    made = graph(tmp_path, toml + 'gate = { kld = 1, text = "x.txt" }\n', {**seeing(TOWER), "x.txt": "words"})
    listing = json.loads(made.steps["a/manifest"].parameters)["layers"]
    assert [kind.rpartition(".")[2] for kind, _ in listing] == ["model", "projector"]
    assert dict(made.steps["a/manifest"].inputs)["gate 0"] == "a/gate"


@pytest.mark.parametrize("key", ['quantize = "q8_0"', "metadata = { general.name = 'N' }"])
def test_without_a_model_file_there_is_nothing_to_do_it_to(tmp_path: Path, key: str) -> None:
    files = {**library(tmp_path, model=b""), "x.gguf": gguf_file()}
    listed = next(name for name in files if "manifests" in name)
    manifest = json.loads(files[listed])
    manifest["layers"] = [each for each in manifest["layers"] if not each["mediaType"].endswith(".model")]
    files[listed] = json.dumps(manifest)
    with pytest.raises(Errors) as raised:
        graph(tmp_path, f'[model.a]\nfrom = "base"\n{key}\n', files)
    assert "has no model file" in str(raised.value.errors[0])
