"""Templates that weights bring along, metadata of one's own: what is built of them, shown, and built again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelbuild.tensors.formats import gguf
from modelbuild.tensors.formats.gguf import decode_value
from tests import checkpoints
from tests.e2e.project import Project, old
from tests.plan.test_plan import CHATML, OTHER, STOP


def chatting(folder: Path, text: str) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": text}))
    old(folder / "tokenizer_config.json")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    chatting(checkpoints.write(tmp_path / "weights"), CHATML)
    made.write("ModelBuild.toml", '[model.a]\nfrom = "./weights"\n')
    return made


def shown(project: Project) -> Any:
    return json.loads(project.run("--json", "show", "a"))


def metadata(project: Project, name: str = "a:latest") -> dict[str, Any]:
    file = project.folder / "built.gguf"
    file.write_bytes(project.blob(name, "model"))
    return {key: decode_value(value) for key, value in gguf.read_header(str(file)).table.metadata.items()}


def test_template_and_stops_are_built_and_shown_with_where_they_come_from(project: Project) -> None:
    project.build()
    assert b"<|im_start|>" in project.blob("a:latest", "template")
    assert json.loads(project.blob("a:latest", "params")) == {"stop": STOP}
    assert metadata(project)["tokenizer.chat_template"] == CHATML
    place = "chatml, recognized from tokenizer_config.json"
    data = shown(project)
    assert data["values"]["template"]["place"] == data["parameters"]["stop"]["place"] == place
    assert place in project.run("show", "a")
    assert "PARAMETER stop <|im_start|>\n" in project.run("show", "a", "--modelfile")


def test_changed_chat_template_makes_another_layer(project: Project) -> None:
    project.build()
    assert project.ran() == []
    chatting(project.folder / "weights", OTHER)
    assert sorted(project.ran()) == ["a/config", "a/convert", "a/manifest", "a/model"]
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in project.manifest("a:latest")["layers"]]
    assert kinds == ["model"]
    chatting(project.folder / "weights", CHATML.replace("'\\n' }}{% endfor", "'\\n' }}{# a remark #}{% endfor"))
    project.build()
    assert b"<|im_start|>" in project.blob("a:latest", "template")


def test_metadata_are_in_the_file_and_shown(project: Project) -> None:
    toml = '[model.a]\nfrom = "./weights"\n[model.a.metadata]\ngeneral.name = "My own"\nllama.context_length = 64\n'
    project.write("ModelBuild.toml", toml)
    project.build()
    found = metadata(project)
    assert (found["general.name"], found["llama.context_length"]) == ("My own", 64)
    assert shown(project)["metadata"]["general.name"] == {"value": "My own", "place": "ModelBuild.toml:4:9"}
    project.write("ModelBuild.toml", toml.replace("My own", "Another"))
    assert "metadata general.name changed: ModelBuild.toml:4:9" in project.run("explain")
    assert project.ran() == ["a/config", "a/describe", "a/manifest", "a/model"]
    assert project.summary["tensors_computed"] == 0


def test_metadata_of_a_wrong_type_is_said_by_check(project: Project) -> None:
    project.write("ModelBuild.toml", '[model.a]\nfrom = "./weights"\nmetadata = { "llama.context_length" = "long" }\n')
    project.run("check", code=1)
    assert "'llama.context_length' expects a whole number, got 'long'" in project.errors
