"""Models that are there because a Modelfile is."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Errors
from modelbuild.observed import Observed
from tests.projects import FROM, check_golden, labels, load, names


def test_a_modelfile_alone_is_a_project_named_after_its_folder(tmp_path: Path) -> None:
    loaded = load(tmp_path, files={"chat/Modelfile": FROM}, file="chat/Modelfile")
    assert names(loaded) == [["chat:latest"]]
    assert loaded.root == str(tmp_path / "chat")
    assert loaded.models is None


def test_a_named_modelfile_gives_its_name(tmp_path: Path) -> None:
    loaded = load(tmp_path, files={"x.Modelfile": FROM, "Modelfile.y": FROM}, file="x.Modelfile")
    assert names(loaded) == [["x:latest"]]
    assert names(load(tmp_path, file="Modelfile.y")) == [["y:latest"]]


def test_by_default_the_modelfile_beside_the_toml_is_found(tmp_path: Path) -> None:
    root = tmp_path / "chat"
    loaded = load(root, "", {"ModelBuild.toml": "", "Modelfile": FROM, "sub/Modelfile": FROM})
    assert names(loaded) == [["chat:latest"]]


def test_models_are_named_after_their_modelfiles(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        '[project]\nmodelfiles = ["models/**/Modelfile", "models/*.Modelfile", "models/Modelfile.*"]\n',
        {"models/a/Modelfile": FROM, "models/deep/er/b/Modelfile": FROM, "models/c.Modelfile": FROM}
        | {"models/Modelfile.d": FROM, "models/README": "", "other/Modelfile": FROM},
    )
    assert labels(loaded) == ["d", "a", "c", "b"]


def test_a_modelfile_that_a_table_names_is_not_found_again(tmp_path: Path) -> None:
    toml = (
        '[project]\nmodelfiles = ["**/Modelfile"]\n[model.bot]\nmodelfile = "a/Modelfile"\n'
        '[model.rows.matrix]\nmodelfile = { b = "b/Modelfile", c = "./${c}/Modelfile" }\n[vars]\nc = "c"\n'
    )
    loaded = load(tmp_path, toml, {f"{x}/Modelfile": FROM + f"SYSTEM {x}\n" for x in "abcd"})
    assert labels(loaded) == ["bot", "rows:b", "rows:c", "d"]
    assert [variant.system for variant in loaded.variants] == ["a", "b", "c", "d"]


def test_a_table_of_a_found_models_name_refines_it(tmp_path: Path) -> None:
    toml = '[project]\nmodelfiles = ["*/Modelfile"]\n[model.a]\nsystem = "new"\n'
    loaded = load(tmp_path, toml, {"a/Modelfile": FROM + "SYSTEM old\n"})
    assert [(each.label, each.system) for each in loaded.variants] == [("a", "new")]


def test_discover_as_tells_modelfiles_apart(tmp_path: Path) -> None:
    toml = '[project]\nmodelfiles = ["**/Modelfile", "**/*.Modelfile"]\ndiscover_as = "{parent}-{name}"\n'
    loaded = load(tmp_path, toml, {"x/a/Modelfile": FROM, "y/a/Modelfile": FROM, "y/z/b.Modelfile": FROM})
    assert labels(loaded) == ["x-a", "y-a", "y-b"]


def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    class Refusing(Observed):
        def entries(self, path: str):  # type: ignore[no-untyped-def]
            if path.endswith("secret"):
                raise PermissionError(13, "Permission denied", path)
            return super().entries(path)

    toml = '[project]\nmodelfiles = ["**/Modelfile"]\n'
    with pytest.raises(Errors) as caught:
        load(tmp_path, toml, {"secret/a": "", "b/Modelfile": FROM}, observed=Refusing())
    check_golden("discover-unreadable", f"{caught.value}\n")
