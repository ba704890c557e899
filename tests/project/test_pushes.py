"""The names of `push`: variables and rows, what `extends` copies, and names that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.project.project import Project
from tests.projects import load

MODEL = '[model.chat]\nfrom = "./x"\n'


def names(project: Project) -> dict[str, list[str]]:
    return {each.label: [to.name.display() for to in each.pushes] for each in project.variants}


def faults(tmp_path: Path, toml: str) -> list[Error]:
    return [error for each in load(tmp_path, toml, {}).broken for error in each.errors]


def test_each_row_has_its_own_names(tmp_path: Path) -> None:
    toml = (
        '[vars]\nteam = "team"\n' + MODEL + 'push = ["r.example.com:5000/${team}/chat:${matrix.quantize}", "you/chat-${matrix.quantize}"]\n'
        'matrix.quantize = ["q8_0", "q4_K_M"]\n'
    )  # fmt: skip
    assert names(load(tmp_path, toml, {})) == {
        "chat:q8_0": ["r.example.com:5000/team/chat:q8_0", "you/chat-q8_0:latest"],
        "chat:q4_K_M": ["r.example.com:5000/team/chat:q4_K_M", "you/chat-q4_K_M:latest"],
    }


def test_a_name_without_a_namespace_gets_the_projects(tmp_path: Path) -> None:
    toml = '[project]\nnamespace = "acme"\n' + MODEL + 'push = ["chat:v1", "chat:v1"]\n'
    assert names(load(tmp_path, toml, {})) == {"chat": ["acme/chat:v1"]}


def test_extends_does_not_copy_it(tmp_path: Path) -> None:
    toml = MODEL + 'push = ["you/chat"]\n[model.more]\nextends = "chat"\nsystem = "x"\n'
    assert names(load(tmp_path, toml, {})) == {"chat": ["you/chat:latest"], "more": []}


@pytest.mark.parametrize("name", ["chat", "library/chat:v1", "registry.ollama.ai/library/chat"])
def test_ollamas_own_namespace_is_refused_at_its_place(tmp_path: Path, name: str) -> None:
    (error,) = faults(tmp_path, MODEL + f'push = ["you/a", "{name}"]\n')
    assert error.line == 3 and "names without a namespace are Ollama's own" in error.what
    assert error.hint is not None and "'USER/chat:" in error.hint


def test_two_variants_cannot_be_pushed_to_one_name(tmp_path: Path) -> None:
    toml = MODEL + 'push = ["you/chat:${matrix.size}"]\nmatrix.quantize = ["q8_0", "q4_K_M"]\nmatrix.size = ["a"]\n'
    found = faults(tmp_path, toml + 'system = "${matrix.size}"\n')
    assert {error.what for error in found} == {
        "model 'chat': 'chat:q8_0-a' and 'chat:q4_K_M-a' would both be pushed to 'you/chat:a'"
    }
    assert found[0].hint == "put every axis into it: ${matrix.quantize}, ${matrix.size}"
    toml = MODEL + 'push = ["you/chat"]\n[model.other]\nfrom = "./y"\npush = ["you/Chat"]\n'
    assert {error.what for error in faults(tmp_path, toml)} == {
        "model 'other': 'chat' and 'other' would both be pushed to 'you/Chat:latest'"
    }


def test_an_entry_may_say_a_shape(tmp_path: Path) -> None:
    toml = MODEL + (
        'push = ["you/chat", { to = "r.example.com/a/${matrix.quantize}", as = "Docker-Model", split = "2GB" },\n'
        '{ to = "r.example.com/b/x-${matrix.quantize}", as = "oci" }]\nmatrix.quantize = ["q8_0"]\n'
    )
    (variant,) = load(tmp_path, toml, {}).variants
    assert [(to.name.display(), to.shape, to.split) for to in variant.pushes] == [
        ("you/chat:latest", "", ""),
        ("r.example.com/a/q8_0:latest", "docker-model", "2GB"),
        ("r.example.com/b/x-q8_0:latest", "oci", ""),
    ]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('{ to = "r.io/a/b", as = "lm-studio" }', "unknown shape of registries 'lm-studio'"),
        ('{ to = "r.io/a/b", as = "oci", split = "1GB" }', "the shape 'oci' has no split files"),
        ('{ to = "r.io/a/b", split = "1GB" }', "'split' has no effect without a shape"),
        ('{ to = "r.io/a/b", as = "modelpack", split = "1 GiB" }', "expected a size such as"),
        ('{ to = "you/b", as = "modelpack" }', "takes only models in Ollama's form"),
        ('{ to = "b", as = "modelpack" }', "names without a namespace are Ollama's own"),
        ('{ as = "modelpack" }', "'push[0].to' is missing"),
        ('{ to = "r.io/a/b", shape = "oci" }', "unknown key 'shape'"),
        ("5", "a string or a table"),
        ('"r.io/a/b", { to = "r.io/A/b", as = "oci" }', "in two ways"),
    ],
)
def test_an_entry_that_cannot_be(tmp_path: Path, entry: str, said: str) -> None:
    try:
        found = faults(tmp_path, MODEL + f"push = [{entry}]\n")
    except Errors as errors:
        found = list(errors.errors)
    assert [said in error.what for error in found] == [True], [error.what for error in found]
    assert found[0].line == 3
