"""What the path of an adapter means: a folder or a file, of PEFT, MLX or llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.graph import Source
from modelbuild.ollama import manifest
from modelbuild.plan import preflight

from .test_plan import CHECKPOINT, gguf_file, graph

WEIGHTS = {
    "lora/adapter_model.safetensors": "adapter_model.safetensors",
    "lora/adapters.safetensors": "adapters.safetensors",
    "lora/mine.safetensors": "mine.safetensors",
}


def sources(folder: Path, path: str, files: dict[str, str | bytes]) -> dict[str, str]:
    """Role -> path from the project, of the step that makes the adapter's file."""
    toml = (
        f'[model.a]\nmodelfile = "sub/Modelfile"\nadapters = [{{ path = "{path}" }}]\n'
        if path
        else '[model.a]\nmodelfile = "sub/Modelfile"\n'
    )
    found = graph(folder, toml, {"sub/Modelfile": "FROM ../x.gguf\n", "x.gguf": gguf_file(), **files})
    step = found.steps["a/adapt"]
    assert step.inputs[0] == ("recipe", "a/import")
    return {
        role: str(Path(source.path).relative_to(folder)) for role, source in step.inputs if isinstance(source, Source)
    }


@pytest.mark.parametrize("file", WEIGHTS)
def test_a_folder_and_a_file_in_it_are_the_same(file: str, tmp_path: Path) -> None:
    expected = {
        WEIGHTS[file]: file,
        "adapter_config.json": "lora/adapter_config.json",
        "README.md": "lora/README.md",
    }
    if "mine" not in file:
        assert sources(tmp_path, "lora", {file: b"x"}) == expected
    assert sources(tmp_path, f"lora/{WEIGHTS[file]}", {file: b"x"}) == expected


@pytest.mark.parametrize("written", [".", "./", "../sub", "./adapter_model.safetensors", "adapter_model.safetensors"])
def test_a_modelfile_names_it_from_its_own_folder(written: str, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "sub/Modelfile": f"FROM ../x.gguf\nADAPTER {written}\n", "sub/adapter_model.safetensors": b"x",
    }  # fmt: skip
    assert sources(tmp_path, "", files)["adapter_model.safetensors"] == "sub/adapter_model.safetensors"


@pytest.mark.parametrize("path", ["lora.gguf", "lora", "lora/any.name"])
def test_a_gguf_file_is_taken_as_it_is_when_it_was_looked_at(path: str, tmp_path: Path) -> None:
    file = {"lora.gguf": "lora.gguf", "lora": "lora/x.gguf", "lora/any.name": "lora/any.name"}[path]
    toml = f'[model.a]\nfrom = "./x.gguf"\nadapters = [{{ path = "{path}" }}]\n'
    found = graph(tmp_path, toml, {"x.gguf": gguf_file(), file: gguf_file("adapter")})
    source = Source(str(tmp_path / file), "gguf")
    assert found.steps["a/adapt"].inputs == (("recipe", "a/import"), ("adapter.gguf", source))
    assert found.steps["a/adapter"].inputs == (("file", source), ("recipe", "a/adapt"))


def test_one_that_from_names_beside_the_model_is_looked_at_too(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"Modelfile": "FROM ./l.gguf\nFROM ./x.gguf\n", "x.gguf": gguf_file()}
    found = graph(tmp_path, '[model.a]\nmodelfile = "Modelfile"\n', {**files, "l.gguf": gguf_file("adapter")})
    assert [role for role, _ in found.steps["a/adapter"].inputs] == ["file", "recipe"]


def test_with_a_scale_it_is_made_anew(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./x.gguf"\nadapters = [{ path = "l.gguf", scale = 0.5 }]\n'
    found = graph(tmp_path, toml, {"x.gguf": gguf_file(), "l.gguf": gguf_file("adapter")})
    assert [role for role, _ in found.steps["a/adapt"].inputs] == ["recipe", "adapter.gguf"]


def test_several_are_as_many_layers(tmp_path: Path) -> None:
    toml = (
        '[model.a]\nmodelfile = "Modelfile"\n'
        'adapters = [{ path = "two", scale = 2 }, { path = "three.gguf" }]\n[model.b]\nfrom = "a"\nadapters = [{ path = "one" }]\n'
    )
    files: dict[str, str | bytes] = {f"{name}/adapter_model.safetensors": b"x" for name in ("one", "two")}
    files |= {"Modelfile": "FROM ./x.gguf\nADAPTER ./one\n", "x.gguf": gguf_file(), "three.gguf": gguf_file("adapter")}
    found = graph(tmp_path, toml, files)
    for output, count in zip(found.outputs, (3, 4), strict=True):
        assert found.steps[output.manifest].parameters.count(manifest.ADAPTER) == count


CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.mark.parametrize("mode", ["layer", "merge"])
def test_a_chat_template_beside_the_adapter_gives_the_template(mode: str, tmp_path: Path) -> None:
    toml = f'[model.a]\nfrom = "./x.gguf"\nadapters = [{{ path = "lora", mode = "{mode}" }}]\n'
    files: dict[str, str | bytes] = {"lora/adapter_model.safetensors": b"x", "lora/chat_template.jinja": CHATML}
    found = graph(tmp_path, toml, {"x.gguf": gguf_file(), **files})
    assert "recognized from chat_template.jinja" in found.steps["a/template"].parameters
    roles = [role for role, _ in found.steps["a/adapt" if mode == "layer" else "a/merge"].inputs]
    assert ("chat_template.jinja" in roles) == (mode == "merge")


@pytest.mark.parametrize("beside", [True, False], ids=["the adapter's", "the base's"])
def test_a_text_that_switches_it_on_needs_a_tokenizer(beside: bool, tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\nadapters = [{ path = "lora" }]\n'
    files: dict[str, str | bytes] = {
        **CHECKPOINT,
        "weights/tokenizer.json": "{}",
        "lora/adapter_model.safetensors": b"x",
        "lora/adapter_config.json": '{"invocation_string": "x"}',
        **({"lora/tokenizer.json": "{}"} if beside else {}),
    }
    sources = dict(graph(tmp_path, toml, files).steps["a/adapt"].inputs)
    folder = "lora" if beside else "weights"
    assert sources["tokenizer.json"] == Source(str(tmp_path / folder / "tokenizer.json"), "bytes")


def test_an_adapter_that_is_always_on_needs_none(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./weights"\nadapters = [{ path = "lora" }]\n'
    files = {**CHECKPOINT, "weights/tokenizer.json": "{}", "lora/adapter_model.safetensors": b"x"}
    assert "tokenizer.json" not in dict(graph(tmp_path, toml, files).steps["a/adapt"].inputs)


def test_one_is_looked_at_also_where_its_model_is_made_already(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "./x.gguf"\nadapters = [{ path = "l.gguf" }]\n'
    found = graph(tmp_path, toml, {"x.gguf": gguf_file(), "l.gguf": gguf_file("adapter")})
    errors = preflight.look(found, {"a/adapt", "a/adapter"}).errors
    assert list(errors) == ["a/adapt"]
