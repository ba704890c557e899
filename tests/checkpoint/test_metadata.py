"""Metadata of a project's own: which keys may be set, and what a ModelBuild.toml says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.projects import load


def said(root: Path, toml: str, **options: Any) -> list[dict[str, Any]]:
    return [dict(each.metadata) for each in load(root, toml, **options).variants]


def test_tables_lie_over_one_another_key_by_key(tmp_path: Path) -> None:
    toml = """
[defaults]
metadata = { "general.author" = "Acme", "general.license" = "mit" }
[model."a*"]
metadata.general.license = "apache-2.0"
[model.a]
from = "x"
[model.a.metadata]
general.name = "A ${matrix.size}"
"general.tags" = ["${tag}", "b"]
acme.ctx = "${ctx}"
[model.a.matrix]
size = ["one", "two"]
[[model.a.include]]
size = "two"
metadata = { "general.author" = "" }
[vars]
ctx = 8
tag = "t"
"""
    first, second = said(tmp_path, toml)
    assert first == {
        "general.author": "Acme", "general.license": "apache-2.0", "general.name": "A one", "general.tags": ["t", "b"], "acme.ctx": 8,
    }  # fmt: skip
    assert second["general.author"] == ""


def test_metadata_may_be_an_axis(tmp_path: Path) -> None:
    axis = '[model.a.matrix.metadata]\nx = { "general.version" = "1" }\ny = { general.version = "2" }\n'
    toml = f'[model.a]\nfrom = "x"\nmetadata = {{ "general.name" = "A" }}\n{axis}'
    assert said(tmp_path, toml) == [
        {"general.name": "A", "general.version": "1"}, {"general.name": "A", "general.version": "2"},
    ]  # fmt: skip


def test_a_text_may_stand_in_a_file(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "x"\nmetadata = { "tokenizer.chat_template" = { file = "${f}.jinja" } }\n[vars]\nf = "chat"\n'
    found = said(tmp_path, toml, files={"chat.jinja": "{{ ${x} }}"})
    assert found == [{"tokenizer.chat_template": "{{ ${x} }}"}]


def test_set_names_a_key_by_its_parts(tmp_path: Path) -> None:
    toml = '[model.a]\nfrom = "x"\nmetadata = { "general.name" = "A" }\n'
    assert said(tmp_path, toml, sets=("a.metadata.general.name=B", "a.pre=qwen2")) == [{"general.name": "B"}]
