"""Which models are pushed, and where to. What a command says of it is in tests/e2e/test_push.py."""

from __future__ import annotations

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.session import pushing
from modelbuild.session.pushing import Asked
from modelbuild.session.settings import Settings
from tests.e2e.project import Project
from tests.registry.models import Models
from tests.session.conftest import Open

TOML = """
[model.base]
from = "./weights"
tags = ["v1"]
name = "acme/base"
[model.chat]
from = "base"
system = "Hello."
push = ["r.example.com/team/chat", "you/chat:v2"]
[model.plain]
from = "base"
system = "Bye."
[group]
all = ["base", "chat", "plain"]
"""


@pytest.fixture
def project(project: Project) -> Project:
    project.write("ModelBuild.toml", TOML)
    return project


def orders(found: pushing.Orders) -> list[tuple[str, str, str]]:
    return [
        (order.label, order.source.removeprefix("registry.ollama.ai/"), order.to.display()) for order in found.orders
    ]


def test_each_variant_goes_to_its_own_names_or_to_those_it_says(start: Open, project: Project) -> None:
    found = pushing.of_project(start(), ["all"], Asked())
    assert orders(found) == [
        ("base", "acme/base/latest", "acme/base:latest"),
        ("base", "acme/base/v1", "acme/base:v1"),
        ("chat", "library/chat/latest", "r.example.com/team/chat:latest"),
        ("chat", "library/chat/latest", "you/chat:v2"),
    ]
    assert found.skipped == ["plain"] and found.selection is not None
    assert [output.label for output in found.selection.outputs] == ["base", "chat"]
    assert orders(pushing.of_project(start(), [], Asked())) == orders(found)


def test_to_names_one_model_which_may_have_several_names(start: Open, project: Project) -> None:
    assert orders(pushing.of_project(start(), ["base"], Asked("you/it"))) == [
        ("base", "acme/base/latest", "you/it:latest")
    ]
    assert orders(pushing.of_project(start(), ["plain"], Asked("you/it:v3"))) == [
        ("plain", "library/plain/latest", "you/it:v3")
    ]
    for words, to in ((["all"], "you/it"), (["plain"], "it"), (["plain"], "a/b/c/d/e")):
        with pytest.raises(Error):
            pushing.of_project(start(), words, Asked(to))


def test_a_shape_goes_to_the_names_that_say_it_or_to_the_one_that_is_asked_for(start: Open, project: Project) -> None:
    toml = TOML.replace('"you/chat:v2"]', '{ to = "r.example.com/docker/chat", as = "docker-model", split = "1GB" }]')
    project.write("ModelBuild.toml", toml)

    def shaped(found: pushing.Orders) -> list[tuple[str, str, str]]:
        return [(order.to.display(), order.shape, order.split) for order in found.orders]

    docker = ("r.example.com/docker/chat:latest", "docker-model", "1GB")
    assert shaped(pushing.of_project(start(), ["chat"], Asked())) == [
        ("r.example.com/team/chat:latest", "", ""),
        docker,
    ]
    found = pushing.of_project(start(), ["all"], Asked(shape="docker-model"))
    assert shaped(found) == [docker] and found.skipped == ["base", "plain"]
    assert shaped(pushing.of_project(start(), ["plain"], Asked("r.io/a/b", "modelpack", "2GB"))) == [
        ("r.io/a/b:latest", "modelpack", "2GB")
    ]
    with pytest.raises(Error, match="'chat' has no `push` as 'oci'") as nowhere:
        pushing.of_project(start(), ["chat"], Asked(shape="oci"))
    assert 'as = "oci"' in str(nowhere.value.hint)
    with pytest.raises(Error, match="only models in Ollama's form"):
        pushing.of_project(start(), ["chat"], Asked("you/chat", "oci"))
    Models(project.models).model("acme/other:v1")
    for asked in (Asked("r.io/a/b", "oci"), Asked(shape="oci")):
        with pytest.raises(Error, match="not a target"):
            pushing.of_project(start(), ["acme/other:v1"], asked)


def test_words_are_targets_first_and_then_names_of_the_models_folder(start: Open, project: Project) -> None:
    Models(project.models).model("acme/other:v1")
    found = pushing.of_project(start(), ["acme/other:v1", "chat", "chat"], Asked())
    assert [order[2] for order in orders(found)] == ["r.example.com/team/chat:latest", "you/chat:v2", "acme/other:v1"]
    found = pushing.of_project(start(), ["acme/other:v1"], Asked())
    assert found.selection is None and [order[0] for order in orders(found)] == ["acme/other:v1"]
    with pytest.raises(Errors) as unknown:
        pushing.of_project(start(), ["acme/othre:v1", "nothing", "chat"], Asked())
    assert len(unknown.value.errors) == 2


def test_without_a_project_words_are_names(project: Project) -> None:
    models = Models(project.models)
    data = models.model("acme/other:v1")
    settings = Settings(models=str(project.models))
    found = pushing.without_project(settings, ["acme/other:v1"], Asked())
    assert orders(found) == [("acme/other:v1", "acme/other/v1", "acme/other:v1")]
    assert pushing.manifest(found.library, found.orders[0].source) == data
    with pytest.raises(Error, match="no model 'acme/othre:v1'"):
        pushing.without_project(settings, ["acme/othre:v1"], Asked())
    models.model("other:v1")
    with pytest.raises(Error, match="Ollama's own"):
        pushing.without_project(settings, ["other:v1"], Asked())


def test_a_manifest_that_went_meanwhile_is_an_error(project: Project) -> None:
    with pytest.raises(Error, match="cannot be read"):
        pushing.manifest(Models(project.models).library, "registry.ollama.ai/a/b/c")


def test_whether_there_is_a_project(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / ".git").mkdir()
    assert pushing.is_project(Settings(folder=str(project.folder / "weights")))
    assert not pushing.is_project(Settings(folder=str(elsewhere)))
    assert pushing.is_project(Settings(folder=str(elsewhere), file="x.toml"))


def test_the_name_of_a_part_is_nobody_s_namespace_in_ollama_s_registry(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", '[project]\ninclude = ["*/ModelBuild.toml"]\n')
    more = '[model.me]\nname = "vision/me"\nfrom = "chat"\n[model.there]\nname = "r.example.com/vision/there"\nfrom = "chat"\n'
    part = '[model.chat]\nfrom = "../weights"\n'
    project.write("vision/ModelBuild.toml", part + more)
    found = pushing.of_project(start(), [], Asked())
    assert [to for _, _, to in orders(found)] == ["vision/me:latest", "r.example.com/vision/there:latest"]
    assert found.skipped == ["vision/chat"]
    assert pushing.why_skipped("", found.skipped) == "no `push`, and no namespace but a part's name"
    assert [to for _, _, to in orders(pushing.of_project(start(), ["vision/chat"], Asked("vision/chat")))]
    for owned in ("vision", "acme"):
        project.write("vision/ModelBuild.toml", f'[project]\nnamespace = "{owned}"\n{part}')
        assert orders(pushing.of_project(start(), [], Asked()))[0][2] == f"{owned}/chat:latest"
