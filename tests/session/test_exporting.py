"""What is asked for as files: which, under which names, with which Modelfile."""

from __future__ import annotations

import os

import pytest

from modelbuild.errors import Error
from modelbuild.session import exporting
from tests.e2e.project import Project
from tests.session.conftest import Open


def test_one_file_is_that_of_the_models_layer(start: Open, project: Project) -> None:
    session = start()
    asked = str(project.folder / "out.gguf")
    chosen = exporting.one_file(session, ["base"], asked)
    assert [output.files for output in chosen.outputs] == [((asked, "base/model"),)]
    assert chosen.into == asked and chosen.exported is not None
    there = exporting.one_file(session, ["base"], str(project.folder / "new") + os.sep)
    assert there.outputs[0].files[0][0] == str(project.folder / "new/base.gguf")


def test_several_are_too_many_for_one_file(start: Open, project: Project) -> None:
    with pytest.raises(Error, match="2 variants match") as caught:
        exporting.one_file(start(), [], "/x/out.gguf")
    assert caught.value.hint == "name one of them, or `modelbuild export FOLDER` writes all"


def test_a_folder_holds_a_gguf_and_a_modelfile_each(start: Open, project: Project) -> None:
    session = start()
    one = exporting.folder(session, ["chat"], "/d", exporting.OWN)
    assert [path for output in one.selection.outputs for path, _ in output.files] == ["/d/chat.gguf"]
    assert one.modelfiles == {"/d/Modelfile": "# chat, exported by modelbuild\nFROM ./chat.gguf\nSYSTEM Hello.\n"}
    two = exporting.folder(session, ["*"], "/d", exporting.OWN)
    assert sorted(two.modelfiles) == ["/d/base.Modelfile", "/d/chat.Modelfile"]


def test_equal_names_of_two_namespaces_are_told_apart(start: Open, project: Project) -> None:
    project.write(
        "ModelBuild.toml",
        '[model.a]\nfrom = "./weights"\nname = "x/chat"\n[model.b]\nfrom = "./weights"\nname = "y/Chat"\n',
    )
    found = exporting.folder(start(), ["*"], "/d", exporting.ALL)
    assert sorted(path for output in found.selection.outputs for path, _ in output.files) == [
        "/d/registry.ollama.ai-x-chat-latest.gguf",
        "/d/registry.ollama.ai-y-Chat-latest.gguf",
    ]
