"""Planning: which steps a project becomes, what FROM means, and every error it can make. UPDATE_GOLDEN=1 writes the goldens."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.engine.graph import Graph, Source
from modelbuild.errors import Error, Errors, once
from modelbuild.observed import Listing, Observed
from modelbuild.ollama import manifest
from modelbuild.plan.plan import Plan, plan
from modelbuild.tensors.formats import gguf
from tests import zoo
from tests.projects import load, write

GOLDEN = Path(__file__).parents[1] / "golden/plan"


def gguf_file(kind: str = "model", dtype: str = "f32", **metadata: str | int) -> bytes:
    values = {"general.architecture": "llama", "general.type": kind, "llama.block_count": 1, **metadata}
    encoded = {
        key: gguf.encode_value("str" if isinstance(value, str) else "u32", value) for key, value in values.items()
    }
    data = {"f32": bytes(4 * 32 * 2), "q8_0": bytes(34 * 2)}[dtype]
    return gguf.header(encoded, [("token_embd.weight", dtype, (2, 32))]) + data + bytes(-len(data) % 32)


CHECKPOINT: dict[str, str | bytes] = {"weights/config.json": "{}", "weights/model.safetensors": b"x"}


def library(root: Path, name: str = "base:latest", family: str = "llama", **layers: bytes) -> dict[str, str | bytes]:
    """A models folder with one model in it."""
    blobs = {"model": gguf_file(), **layers}
    config = manifest.ConfigV2("gguf", family, [family], "64", "F16", renderer="odd").encode()
    files: dict[str, str | bytes] = {}
    listed = []
    for kind, data in blobs.items():
        listed.append(manifest.Layer(f"application/vnd.ollama.image.{kind}", sha256(data), len(data)))
        files[f"models/blobs/{sha256(data).replace(':', '-')}"] = data
    files[f"models/blobs/{sha256(config).replace(':', '-')}"] = config
    made = manifest.Manifest(manifest.Layer(manifest.CONFIG, sha256(config), len(config)), tuple(listed))
    files[f"models/manifests/registry.ollama.ai/library/{name.replace(':', '/')}"] = made.encode()
    return files


def planned(root: Path, toml: str | None, files: Mapping[str, str | bytes] | None = None) -> Plan:
    write(root, files or {})
    made = plan(load(root, toml), Observed(), [str(root / "models")])
    if made.broken:
        raise Errors(once(error for each in made.broken for error in each.errors))
    return made


def graph(root: Path, toml: str | None, files: Mapping[str, str | bytes] | None = None) -> Graph:
    return planned(root, toml, files).graph


def layers(made: Graph, label: str) -> list[tuple[str, str]]:
    """(kind of layer, display name of the base it comes from) of an output's manifest, in order."""
    output = next(output for output in made.outputs if output.label == label)
    listing = json.loads(made.steps[output.manifest].parameters)["layers"]
    return [(media_type.rpartition(".")[2], origin) for media_type, origin in listing]


def kinds(made: Graph) -> list[str]:
    return [step.kind for step in made.steps.values()]


# What FROM means


def test_folder_of_safetensors_is_converted(tmp_path: Path) -> None:
    made = graph(tmp_path, '[model.a]\nfrom = "./weights"\n', CHECKPOINT)
    assert kinds(made) == ["convert", "layer", "config", "manifest"]
    (weights,) = [
        ref for _, ref in made.steps["a/convert"].inputs if isinstance(ref, Source) and ref.form == "safetensors"
    ]
    assert weights.path == str(tmp_path / "weights/model.safetensors")


def test_absent_files_that_decide_bytes_are_inputs(tmp_path: Path) -> None:
    made = graph(tmp_path, '[model.a]\nfrom = "./weights"\n', CHECKPOINT)
    roles = [role for role, _ in made.steps["a/convert"].inputs]
    assert {"README.md", "generation_config.json", "chat_template.jinja", "tokenizer.model"} <= set(roles)


def test_gguf_file_is_taken_as_it_is(tmp_path: Path) -> None:
    made = graph(tmp_path, '[model.a]\nfrom = "./x.gguf"\n', {"x.gguf": gguf_file()})
    assert kinds(made) == ["import", "layer", "config", "manifest"]
    assert dict(made.steps["a/model"].inputs)["file"] == Source(str(tmp_path / "x.gguf"), "gguf")


def test_rows_share_one_conversion(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\n[model.a.matrix]\nquantize = ["q8_0", "q4_K_M", "none"]\n'
    made = graph(tmp_path, toml, CHECKPOINT)
    assert kinds(made).count("convert") == 1
    assert kinds(made).count("quantize") == 2


def test_default_quantize_leaves_quantized_files_alone(tmp_path: Path) -> None:
    toml = '[defaults]\nquantize = "q4_K_M"\n[model.a]\nfrom = "./a.gguf"\n[model.b]\nfrom = "./b.gguf"\n[model.c]\nfrom = "b"\n'
    made = graph(tmp_path, toml, {"a.gguf": gguf_file(dtype="q8_0"), "b.gguf": gguf_file()})
    assert [name for name, step in made.steps.items() if step.kind == "quantize"] == ["b/quantize"]
    assert layers(made, "c") == [("model", "b:latest")]


def test_model_of_the_project_gives_its_layers_with_its_name(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./x.gguf"\nsystem = "A"\nparameters = { top_k = 1 }\n[model.b]\nfrom = "a"\ntemplate = "T"\n'
    made = graph(tmp_path, toml, {"x.gguf": gguf_file()})
    assert layers(made, "a") == [("model", ""), ("system", ""), ("params", "")]
    assert layers(made, "b") == [("model", "a:latest"), ("system", "a:latest"), ("template", ""), ("params", "")]


def test_deriving_model_that_quantizes_starts_before_quantization(tmp_path: Path) -> None:
    toml = (
        '[model.a]\nfrom = "./weights"\nquantize = "q8_0"\nsystem = "A"\n[model.b]\nfrom = "a"\nquantize = "q4_K_M"\n'
    )
    made = graph(tmp_path, toml, CHECKPOINT)
    assert dict(made.steps["b/quantize"].inputs) == {"recipe": "a/convert"}
    assert layers(made, "b") == [("model", ""), ("system", "a:latest")]


def test_model_means_its_default_row(tmp_path: Path) -> None:
    toml = """
[model.a]
from = "./weights"
[model.a.matrix]
quantize = ["q8_0", "q4_K_M"]
[model.a.default]
quantize = "q4_K_M"
[model.b]
from = "a"
system = "B"
"""
    assert layers(graph(tmp_path, toml, CHECKPOINT), "b")[0] == ("model", "a:q4_K_M")


def test_rows_of_one_recipe_serve_a_model_that_quantizes(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\n[model.a.matrix]\nquantize = ["q8_0", "q4_K_M"]\n[model.b]\nfrom = "a"\nquantize = "q6_K"\n'
    made = graph(tmp_path, toml, CHECKPOINT)
    assert dict(made.steps["b/quantize"].inputs) == {"recipe": "a/convert"}


def test_name_in_a_models_folder_gives_its_layers(tmp_path: Path) -> None:
    files = library(tmp_path, template=b"T", params=b'{"top_k":3,"stop":["x"]}\n')
    made = graph(tmp_path, '[model.a]\nfrom = "base"\nparameters = { stop = ["y"] }\n', files)
    assert layers(made, "a") == [("model", "base:latest"), ("template", "base:latest"), ("params", "")]
    assert json.loads(made.steps["a/params"].parameters) == {"parameters": {"stop": ["y"], "top_k": 3}}
    config = json.loads(made.steps["a/config"].parameters)
    assert (config["renderer"], config["base"]["model_family"]) == ("odd", "llama")


def test_name_in_a_models_folder_can_be_quantized(tmp_path: Path) -> None:
    made = graph(tmp_path, '[model.a]\nfrom = "base"\nquantize = "q8_0"\n', library(tmp_path))
    assert layers(made, "a") == [("model", "")]
    assert "base" not in json.loads(made.steps["a/config"].parameters)


def test_modelfile_path_wins_over_a_name(tmp_path: Path) -> None:
    made = graph(
        tmp_path, None, {"Modelfile": "FROM x.gguf\n", "x.gguf": gguf_file(), "ModelBuild.toml": "[project]\n"}
    )
    assert "import" in kinds(made)


def test_projector_and_adapter_stand_where_ollama_puts_them(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./x.gguf"\nprojector = "p.gguf"\nadapters = [{ path = "l.gguf" }]\ndraft = "d.gguf"\nsystem = "S"\n'
    files = {
        "x.gguf": gguf_file(),
        "p.gguf": gguf_file("mmproj"),
        "l.gguf": gguf_file("adapter"),
        "d.gguf": gguf_file(**{"general.name": "draft"}),
    }
    kinds_ = [kind for kind, _ in layers(graph(tmp_path, toml, files), "a")]
    assert kinds_ == ["model", "projector", "adapter", "draft", "system"]


def test_config_tells_of_the_draft(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./x.gguf"\ndraft = "d.gguf"\n'
    made = graph(tmp_path, toml, {"x.gguf": gguf_file(), "d.gguf": gguf_file()})
    assert json.loads(made.steps["a/config"].parameters)["draft"] == {"model_format": "gguf", "architecture": "llama"}


def test_a_draft_may_be_a_checkpoint(tmp_path: Path) -> None:
    zoo.write(tmp_path / "draft", zoo.cases("gemma4_assistant")["unified, f32"])
    made = graph(
        tmp_path, '[model.a]\nfrom = "./x.gguf"\nquantize = "q8_0"\ndraft = "draft"\n', {"x.gguf": gguf_file()}
    )
    assert [kind for kind, _ in layers(made, "a")] == ["model", "draft"]
    (step,) = (each for each in made.steps.values() if each.kind == "convert")
    assert json.loads(step.parameters)["outtype"] == "auto"
    config = json.loads(made.steps["a/config"].parameters)["draft"]
    assert config == {"model_format": "gguf", "architecture": "gemma4-assistant"}


@pytest.mark.parametrize(
    ("draft", "what"),
    [
        ("ggufs", "draft 'ggufs' is a folder of GGUF files"),
        ("model", "draft 'model' is the model itself"),
        ("empty", "no weights here"),
        ("encoder", "draft 'encoder' makes vectors or scores, and no text"),
    ],
)
def test_folders_that_are_no_draft(draft: str, what: str, tmp_path: Path) -> None:
    zoo.write(tmp_path / "model", zoo.cases("gemma4_text")["experts, f32"])
    zoo.write(tmp_path / "encoder", zoo.cases("modernbert")["cls"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "ggufs").mkdir()
    (tmp_path / "ggufs" / "d.gguf").write_bytes(gguf_file())
    with pytest.raises(Exception, match=what):
        graph(tmp_path, f'[model.a]\nfrom = "./model"\ndraft = "{draft}"\n', {})


def test_several_gguf_files_sort_by_path(tmp_path: Path) -> None:
    files = {
        "Modelfile": "FROM ./x.gguf\nFROM ./mmproj.gguf\n",
        "x.gguf": gguf_file(),
        "mmproj.gguf": gguf_file("mmproj"),
    }
    made = graph(tmp_path, '[model.a]\nmodelfile = "Modelfile"\n', files)
    assert [kind for kind, _ in layers(made, "a")] == ["projector", "model"]


def test_empty_text_clears_what_the_base_gives(tmp_path: Path) -> None:
    toml = """
[model.a]
from = "./x.gguf"
system = "A"
template = "T"
license = "L"
parameters = { top_k = 1, stop = ["x"] }
messages = [{ role = "user", content = "hi" }]
[model.b]
from = "a"
system = ""
template = false
license = []
messages = []
parameters = { stop = [] }
"""
    made = graph(tmp_path, toml, {"x.gguf": gguf_file()})
    assert [kind for kind, _ in layers(made, "a")] == ["model", "template", "system", "license", "params", "messages"]
    assert layers(made, "b") == [("model", "a:latest"), ("params", "")]


def test_split_gguf_becomes_one(tmp_path: Path) -> None:
    parts = {f"x-{n:05}-of-00002.gguf": gguf_file(**{"split.no": n - 1, "split.count": 2}) for n in (1, 2)}
    made = graph(tmp_path, '[model.a]\nfrom = "./x-00001-of-00002.gguf"\n', parts)
    assert [role for role, _ in made.steps["a/import"].inputs] == ["x-00001-of-00002.gguf", "x-00002-of-00002.gguf"]
    assert dict(made.steps["a/model"].inputs) == {"recipe": "a/import"}


def test_name_that_the_project_no_longer_declares_is_just_a_name(tmp_path: Path) -> None:
    made = graph(tmp_path, '[model.b]\nfrom = "gone"\n', library(tmp_path, "gone:latest"))
    assert layers(made, "b") == [("model", "gone:latest")]


# Metadata


def described(made: Graph, label: str) -> list[dict[str, object]]:
    """What is set in the recipe of an output's model layer, from the first step to the last."""
    name = dict(made.steps[next(o for o in made.outputs if o.label == label).manifest].inputs)["0"]
    found = []
    while isinstance(name, str):
        step = made.steps[name]
        if step.kind == "describe":
            found.insert(0, json.loads(step.parameters)["metadata"])
        name = dict(step.inputs).get("recipe")
    return found


NAMED = 'metadata = { "general.name" = "N" }\n'


def test_metadata_are_set_before_quantization_and_share_the_conversion(tmp_path: Path) -> None:
    toml = f'[model.a]\nfrom = "./weights"\n{NAMED}[model.a.matrix]\nquantize = ["none", "q8_0"]\n[model.b]\nfrom = "./weights"\n'
    made = graph(tmp_path, toml, CHECKPOINT)
    assert kinds(made).count("convert") == kinds(made).count("describe") == 1
    assert dict(made.steps["a/describe"].inputs) == {"recipe": "weights/convert"}
    assert dict(made.steps["a:q8_0/quantize"].inputs) == {"recipe": "a/describe"}
    assert [described(made, label) for label in ("a:none", "a:q8_0", "b")] == [[{"general.name": "N"}]] * 2 + [[]]


def test_gguf_file_with_metadata_is_made_of_its_recipe(tmp_path: Path) -> None:
    made = graph(tmp_path, f'[model.a]\nfrom = "./x.gguf"\n{NAMED}', {"x.gguf": gguf_file()})
    assert kinds(made) == ["import", "describe", "layer", "config", "manifest"]
    assert dict(made.steps["a/model"].inputs) == {"recipe": "a/describe"}


def test_metadata_of_a_model_on_a_model_replace_its_model_layer(tmp_path: Path) -> None:
    toml = f'[model.a]\nfrom = "./weights"\nquantize = "q8_0"\nsystem = "A"\n[model.b]\nfrom = "a"\n{NAMED}'
    toml += '[model.c]\nfrom = "b"\nquantize = "q4_K_M"\n[model.d]\nfrom = "b"\n'
    made = graph(tmp_path, toml, CHECKPOINT)
    assert layers(made, "b") == [("model", ""), ("system", "a:latest")]
    assert dict(made.steps["b/model"].inputs) == {"recipe": "b/describe-2"}
    assert dict(made.steps["b/describe-2"].inputs) == {"recipe": "a/quantize"}
    assert dict(made.steps["c/quantize"].inputs) == {"recipe": "b/describe"}
    assert layers(made, "d") == [("model", "b:latest"), ("system", "b:latest")]


def test_metadata_of_a_model_of_a_models_folder(tmp_path: Path) -> None:
    made = graph(tmp_path, f'[model.a]\nfrom = "base"\n{NAMED}', library(tmp_path, system=b"S"))
    assert layers(made, "a") == [("model", ""), ("system", "base:latest")]
    assert described(made, "a") == [{"general.name": "N"}]
    assert "base" not in json.loads(made.steps["a/config"].parameters)


def test_default_metadata_leave_models_on_models_alone(tmp_path: Path) -> None:
    toml = f'[defaults]\n{NAMED}[model.a]\nfrom = "./x.gguf"\n[model.b]\nfrom = "a"\n[model.c]\nfrom = "base"\n'
    made = graph(tmp_path, toml, {"x.gguf": gguf_file(), **library(tmp_path)})
    assert layers(made, "b") == [("model", "a:latest")]
    assert [described(made, label) for label in "abc"] == [[{"general.name": "N"}]] * 2 + [[]]


def test_pre_tokenizer_is_for_the_conversion_and_for_gguf_files(tmp_path: Path) -> None:
    toml = '[defaults]\npre = "Qwen2"\n[model.a]\nfrom = "./weights"\n[model.b]\nfrom = "./x.gguf"\n[model.c]\nfrom = "a"\n'
    made = graph(tmp_path, toml, {**CHECKPOINT, "x.gguf": gguf_file()})
    assert json.loads(made.steps["a/convert"].parameters)["pre"] == "qwen2"
    assert described(made, "b") == [{"tokenizer.ggml.pre": "qwen2"}]
    assert layers(made, "c") == [("model", "a:latest")]


def test_class_that_a_checkpoint_is_read_as(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\narchitecture = "MistralForCausalLM"\n[model.b]\nfrom = "./weights"\n'
    made = graph(tmp_path, toml, CHECKPOINT)
    assert json.loads(made.steps["a/convert"].parameters)["architecture"] == "MistralForCausalLM"
    assert "architecture" not in json.loads(made.steps["b/convert"].parameters)


# Templates that weights bring along

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
OTHER = "{% for message in messages %}{{ '<<' + message['role'] + '>>' + message['content'] + '!' }}{% endfor %}"


def chatting(text: object = CHATML) -> dict[str, str | bytes]:
    return {**CHECKPOINT, "weights/tokenizer_config.json": json.dumps({"chat_template": text})}


def template_of(made: Graph, label: str) -> tuple[str | None, object]:
    """Where the template of an output was recognized, and the texts that it stops at."""
    inputs = dict(made.steps[next(o for o in made.outputs if o.label == label).manifest].inputs)
    found: dict[str, dict[str, object]] = {}
    for number, (kind, _) in enumerate(layers(made, label)):
        found[kind] = json.loads(made.steps[str(inputs[str(number)])].parameters)
    stop = found.get("params", {}).get("parameters", {})
    assert isinstance(stop, dict)
    recognized = found.get("template", {}).get("recognized")
    return None if recognized is None else str(recognized), stop.get("stop")


STOP = ["<|im_start|>", "<|im_end|>"]


@pytest.mark.parametrize(
    ("files", "file"),
    [
        (chatting(), "tokenizer_config.json"),
        (chatting([{"name": "tools", "template": OTHER}, {"name": "default", "template": CHATML}]), "tokenizer_config.json"),
        ({**CHECKPOINT, "weights/chat_template.jinja": CHATML}, "chat_template.jinja"),
        ({**CHECKPOINT, "weights/chat_template.json": json.dumps({"chat_template": CHATML})}, "chat_template.json"),
        ({**chatting(), "weights/chat_template.jinja": OTHER}, "tokenizer_config.json"),
    ],
)  # fmt: skip
def test_template_that_a_checkpoint_brings_is_a_layer(tmp_path: Path, files: dict[str, str | bytes], file: str) -> None:
    made = graph(tmp_path, '[model.a]\nfrom = "./weights"\nquantize = "q8_0"\nsystem = "S"\n', files)
    assert layers(made, "a") == [("model", ""), ("template", ""), ("system", ""), ("params", "")]
    assert template_of(made, "a") == (f"chatml, recognized from {file}", STOP)


@pytest.mark.parametrize(
    "files",
    [
        CHECKPOINT,
        chatting(OTHER),
        chatting(""),
        chatting(None),
        chatting([{"name": "tools", "template": CHATML}]),
        chatting([1, {"name": "default", "template": 5}]),
        {**chatting(None), "weights/chat_template.jinja": CHATML},
        {**CHECKPOINT, "weights/tokenizer_config.json": "{,"},
        {**CHECKPOINT, "weights/chat_template.jinja": b"\xff"},
        {**CHECKPOINT, "weights/chat_template.json": "[]"},
    ],
)
def test_no_template_no_layer(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert layers(graph(tmp_path, '[model.a]\nfrom = "./weights"\n', files), "a") == [("model", "")]


def test_template_of_ones_own_stands_against_the_one_of_the_weights(tmp_path: Path) -> None:
    toml = """
[model.a]
from = "./weights"
template = "{{ .Prompt }}"
[model.b]
from = "./weights"
template = false
[model.c]
modelfile = "Modelfile"
[model.d]
from = "./weights"
parameters = { stop = ["!"] }
[model.e]
from = "./weights"
parameters = { stop = "" }
"""
    made = graph(tmp_path, toml, {**chatting(), "Modelfile": "FROM ./weights\nTEMPLATE {{ .Prompt }}\n"})
    assert [layers(made, label) for label in "abc"] == [
        [("model", ""), ("template", "")], [("model", "")], [("model", ""), ("template", "")],
    ]  # fmt: skip
    assert [template_of(made, label)[1] for label in "abcde"] == [None, None, None, ["!"], None]
    assert layers(made, "e") == [("model", ""), ("template", "")]


def test_defaults_may_say_that_no_template_is_added(tmp_path: Path) -> None:
    toml = '[defaults]\ntemplate = false\n[model.a]\nfrom = "./weights"\n[model.b]\nmodelfile = "Modelfile"\n'
    made = graph(tmp_path, toml, {**chatting(), "Modelfile": "FROM ./weights\nTEMPLATE {{ .Prompt }}\n"})
    assert layers(made, "a") == [("model", "")]
    assert layers(made, "b") == [("model", ""), ("template", "")]


def test_template_is_handed_down(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\n[model.b]\nfrom = "a"\nquantize = "q8_0"\n[model.c]\nfrom = "b"\ntemplate = false\n'
    toml += '[model.d]\nfrom = "b"\nparameters = { stop = ["!"] }\n'
    made = graph(tmp_path, toml, chatting())
    assert layers(made, "b") == [("model", ""), ("template", "a:latest"), ("params", "")]
    assert template_of(made, "b") == ("chatml, recognized from tokenizer_config.json", STOP)
    assert layers(made, "c") == [("model", "b:latest"), ("params", "")]
    assert template_of(made, "d")[1] == ["!"]


def test_template_of_a_gguf_file_is_recognized_from_its_head(tmp_path: Path) -> None:
    data = gguf_file(**{"tokenizer.chat_template": CHATML})
    made = graph(tmp_path, '[model.a]\nfrom = "./x.gguf"\n[model.b]\nfrom = "a"\n', {"x.gguf": data})
    assert layers(made, "a") == [("model", ""), ("template", ""), ("params", "")]
    assert template_of(made, "a") == ("chatml, recognized from x.gguf", STOP)
    assert layers(made, "b") == [("model", "a:latest"), ("template", "a:latest"), ("params", "")]


def test_template_of_a_model_of_a_models_folder_is_its_own_affair(tmp_path: Path) -> None:
    files = library(tmp_path, model=gguf_file(**{"tokenizer.chat_template": CHATML}))
    assert layers(graph(tmp_path, '[model.a]\nfrom = "base"\n', files), "a") == [("model", "base:latest")]


def test_template_that_metadata_set_is_the_one_that_counts(tmp_path: Path) -> None:
    toml = f"[model.a]\nfrom = './weights'\nmetadata = {{ 'tokenizer.chat_template' = {json.dumps(CHATML)} }}\n"
    toml += "[model.b]\nfrom = './weights'\nmetadata = { 'tokenizer.chat_template' = '' }\n"
    made = graph(tmp_path, toml, chatting(OTHER))
    assert template_of(made, "a") == ("chatml, recognized from metadata", STOP)
    assert layers(graph(tmp_path, toml, chatting()), "b") == [("model", "")]


# Errors


def test_models_that_derive_from_one_another_without_end_are_an_error(tmp_path: Path) -> None:
    tables = [f'[model.m{n}]\nfrom = "m{n + 1}"\n' for n in range(2000)]
    with pytest.raises(Errors, match="more than 100 levels deep"):
        graph(tmp_path, "".join(tables), {})


def test_a_folder_that_cannot_be_listed_is_an_error_at_its_from(tmp_path: Path) -> None:
    class Refusing(Observed):
        def entries(self, path: str) -> Listing:
            raise PermissionError(13, "Permission denied", path)

    (tmp_path / "weights").mkdir()
    project = load(tmp_path, '[model.a]\nfrom = "./weights"\n', {})
    (broken,) = plan(project, Refusing(), []).broken
    assert re.match(
        r"error: ModelBuild.toml:2:8: .*'./weights' cannot be read: permission denied", str(broken.errors[0])
    )


ERRORS: dict[str, tuple[str, dict[str, str | bytes]]] = {
    "nothing": ('[model.a]\nsystem = "S"\n', {}),
    "missing_path": ('[model.a]\nfrom = "./nowhere"\n', {}),
    "missing_path_in_modelfile": (
        '[model.a]\nmodelfile = "Modelfile"\n',
        {"Modelfile": "SYSTEM x\nFROM ./nowhere.gguf\n"},
    ),
    "comment_after_a_path": ('[model.a]\nmodelfile = "M"\n', {"M": "FROM ./x.gguf # small\n", "x.gguf": gguf_file()}),
    "comment_after_a_name": ('[model.a]\nmodelfile = "M"\n', {"M": "FROM llama3 # small\n"}),
    "comment_after_an_adapter": (
        '[model.a]\nmodelfile = "M"\n',
        {"M": "FROM ./x.gguf\nADAPTER ./l.gguf # mine\n", "x.gguf": gguf_file(), "l.gguf": b""},
    ),
    "unknown_model": ('[model.chat]\nfrom = "./x.gguf"\n[model.a]\nfrom = "chta"\n', {"x.gguf": gguf_file()}),
    "registry_name": ('[model.a]\nfrom = "llama3.2:1b"\n', {}),
    "near_miss_in_library": ('[model.a]\nfrom = "bsae"\n', library(Path("."), "base:latest")),
    "a_host_without_a_namespace": ('[model.a]\nfrom = "localhost:5000/story"\n', {}),
    "not_a_name": ('[model.a]\nfrom = "no such thing!"\n', {}),
    "cycle": ('[model.a]\nfrom = "b"\n[model.b]\nfrom = "c"\n[model.c]\nfrom = "a"\n', {}),
    "cycle_of_one": ('[model.a]\nfrom = "a"\n', {}),
    "rows_without_default": (
        '[model.a]\nfrom = "./weights"\n[model.a.matrix]\nquantize = ["q8_0", "q4_K_M"]\n[model.b]\nfrom = "a"\n',
        CHECKPOINT,
    ),
    "bare_word_is_path_and_model": (
        '[model.a]\nmodelfile = "Modelfile"\n[model.weights]\nfrom = "./weights"\n',
        {"Modelfile": "FROM weights\n", **CHECKPOINT},
    ),
    "name_and_file": (
        '[model.a]\nmodelfile = "Modelfile"\n[model.b]\nfrom = "./x.gguf"\n',
        {"Modelfile": "FROM b\nFROM ./x.gguf\n", "x.gguf": gguf_file()},
    ),
    "two_models": (
        '[model.a]\nmodelfile = "Modelfile"\n',
        {"Modelfile": "FROM ./x.gguf\nFROM ./y.gguf\n", "x.gguf": gguf_file(), "y.gguf": gguf_file(dtype="q8_0")},
    ),
    "two_folders": (
        '[model.a]\nmodelfile = "Modelfile"\n',
        {"Modelfile": "FROM ./weights\nFROM ./more\n", "more/model.safetensors": b"x", **CHECKPOINT},
    ),
    "projector_alone": ('[model.a]\nfrom = "./p.gguf"\n', {"p.gguf": gguf_file("mmproj")}),
    "one_file_of_a_checkpoint": ('[model.a]\nfrom = "./weights/model.safetensors"\n', CHECKPOINT),
    "empty_folder": ('[model.a]\nfrom = "./weights"\n', {"weights/": ""}),
    "pickle_only": (
        '[model.a]\nfrom = "./weights"\n',
        {"weights/pytorch_model.bin": b"PK", "weights/config.json": "{}"},
    ),
    "missing_shard": (
        '[model.a]\nfrom = "./weights"\n',
        {
            "weights/model.safetensors.index.json": '{"weight_map": {"a": "model-00001-of-00002.safetensors", '
            '"b": "model-00002-of-00002.safetensors"}}',
            "weights/model-00001-of-00002.safetensors": b"x",
        },
    ),
    "index_is_no_json": (
        '[model.a]\nfrom = "./weights"\n',
        {**CHECKPOINT, "weights/model.safetensors.index.json": "{,"},
    ),
    "not_a_gguf": ('[model.a]\nfrom = "./x.gguf"\n', {"x.gguf": b"something else entirely"}),
    "git_lfs_pointer": (
        '[model.a]\nfrom = "./x.gguf"\n',
        {"x.gguf": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 1234\n"},
    ),
    "cut_gguf": ('[model.a]\nfrom = "./x.gguf"\n', {"x.gguf": gguf_file()[:100]}),
    "missing_part": ('[model.a]\nfrom = "./x-00001-of-00003.gguf"\n', {"x-00001-of-00003.gguf": gguf_file()}),
    "adapter_of_a_run": (
        '[model.a]\nfrom = "./x.gguf"\nadapters = [{ path = "lora" }]\n',
        {
            "x.gguf": gguf_file(),
            "lora/checkpoint-8/adapter_model.safetensors": b"x",
            "lora/checkpoint-16/adapter_model.safetensors": b"x",
        },
    ),
    "adapter_is_a_pickle": (
        '[model.a]\nmodelfile = "Modelfile"\n',
        {
            "Modelfile": "FROM ./x.gguf\nADAPTER ./lora/adapter_model.bin\n",
            "x.gguf": gguf_file(),
            "lora/adapter_model.bin": b"x",
        },
    ),
    "adapter_is_a_configuration": (
        '[model.a]\nfrom = "./x.gguf"\nadapters = [{ path = "lora/adapter_config.json" }]\n',
        {"x.gguf": gguf_file(), "lora/adapter_config.json": "{}"},
    ),
    "adapter_is_a_text": (
        '[model.a]\nfrom = "./x.gguf"\nadapters = [{ path = "lora.txt" }]\n',
        {"x.gguf": gguf_file(), "lora.txt": "{}"},
    ),
    "missing_adapter": ('[model.a]\nfrom = "./x.gguf"\nadapters = [{ path = "lora.gguf" }]\n', {"x.gguf": gguf_file()}),
    "adapter_is_a_model": (
        '[model.a]\nmodelfile = "Modelfile"\n',
        {"Modelfile": "FROM ./x.gguf\nADAPTER ./y.gguf\n", "x.gguf": gguf_file(), "y.gguf": gguf_file()},
    ),
    "projector_is_a_folder": ('[model.a]\nfrom = "./x.gguf"\nprojector = "p"\n', {"x.gguf": gguf_file(), "p/": ""}),
    "library_manifest_damaged": (
        '[model.a]\nfrom = "base"\n',
        {"models/manifests/registry.ollama.ai/library/base/latest": "{"},
    ),
    "library_blob_missing": (
        '[model.a]\nfrom = "base"\n',
        {
            "models/manifests/registry.ollama.ai/library/base/latest": manifest.Manifest(
                manifest.Layer(manifest.CONFIG, "sha256:" + "00" * 32, 1), ()
            ).encode()
        },
    ),
    "pre_on_a_model": (
        '[model.a]\nfrom = "./x.gguf"\n[model.b]\nfrom = "a"\npre = "qwen2"\n',
        {"x.gguf": gguf_file()},
    ),
    "weights_of_a_gguf": (
        '[model.a]\nfrom = "./x.gguf"\nexport = [{ as = "safetensors", path = "out" }]\n',
        {"x.gguf": gguf_file()},
    ),
    "several_at_once": ('[model.a]\nfrom = "./nowhere"\n[model.b]\nfrom = "a"\n[model.c]\nfrom = "d"\n', {}),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error_says_where_what_and_what_to_do(tmp_path: Path, case: str) -> None:
    toml, files = ERRORS[case]
    with pytest.raises((Error, Errors)) as caught:
        planned(tmp_path, toml, files)
    text = re.sub(r"(?:/[^\s']*)?" + re.escape(str(tmp_path)), "PROJECT", str(caught.value)) + "\n"
    golden = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_golden_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(ERRORS)


@pytest.mark.parametrize(("kind", "got"), [("mmproj", "a projector"), ("adapter", "an adapter")])
def test_a_draft_is_a_model(kind: str, got: str, tmp_path: Path) -> None:
    files = {"x.gguf": gguf_file(), "d.gguf": gguf_file(kind)}
    with pytest.raises(Exception, match=f"expected a draft, got {got}"):
        graph(tmp_path, '[model.a]\nfrom = "./x.gguf"\ndraft = "d.gguf"\n', files)


def test_a_draft_makes_text(tmp_path: Path) -> None:
    files = {"x.gguf": gguf_file(), "d.gguf": gguf_file(**{"llama.pooling_type": 1})}
    with pytest.raises(Exception, match="draft 'd.gguf' makes vectors or scores, and no text"):
        graph(tmp_path, '[model.a]\nfrom = "./x.gguf"\ndraft = "d.gguf"\n', files)
