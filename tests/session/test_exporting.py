"""What is asked for as files: which, under which names, with which Modelfile."""

from __future__ import annotations

import os

import pytest

from modelbuild.errors import Error
from modelbuild.session import exporting, exports
from modelbuild.session.exports import Wanted
from modelbuild.session.session import Selection, Session
from tests.e2e.project import Project
from tests.session.conftest import Open


def paths(session: Session, selection: Selection) -> list[str]:
    """The files of an export, as far as they are known before the models are made."""
    (export,) = exports.asked(session, selection)
    return sorted(path for output in selection.outputs for path in export.paths(output))


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
    one = exporting.folder(session, ["chat"], Wanted("folder", "/d"), exporting.OWN)
    assert paths(session, one) == ["/d/Modelfile", "/d/chat.gguf"]
    two = exporting.folder(session, ["*"], Wanted("folder", "/d"), exporting.OWN)
    assert paths(session, two) == ["/d/base.Modelfile", "/d/base.gguf", "/d/chat.Modelfile", "/d/chat.gguf"]


def test_equal_names_of_two_namespaces_are_told_apart(start: Open, project: Project) -> None:
    project.write(
        "ModelBuild.toml",
        '[model.a]\nfrom = "./weights"\nname = "x/chat"\n[model.b]\nfrom = "./weights"\nname = "y/Chat"\n',
    )
    session = start()
    found = exporting.folder(session, ["*"], Wanted("folder", "/d"), exporting.ALL)
    assert [path for path in paths(session, found) if path.endswith(".gguf")] == [
        "/d/registry.ollama.ai-x-chat-latest.gguf",
        "/d/registry.ollama.ai-y-Chat-latest.gguf",
    ]
