"""Looking for the project, and for files below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.project import discovery
from modelbuild.project.discovery import MODEL, Finder, name_after, telling_apart
from tests.projects import FROM, labels, load, write


def test_find_goes_up_to_the_next_toml(tmp_path: Path) -> None:
    write(tmp_path, {"ModelBuild.toml": "", "a/ModelBuild.toml": "", "a/b/c/Modelfile": FROM})
    assert discovery.find(str(tmp_path / "a/b/c")) == str(tmp_path / "a/ModelBuild.toml")


def test_find_stops_at_a_git_folder(tmp_path: Path) -> None:
    write(tmp_path, {"ModelBuild.toml": "", "a/.git/": "", "a/b/": ""})
    assert discovery.find(str(tmp_path / "a/b")) is None


def test_find_looks_into_the_folder_that_holds_git(tmp_path: Path) -> None:
    write(tmp_path, {"a/ModelBuild.toml": "", "a/.git": "gitdir: elsewhere", "a/b/": ""})
    assert discovery.find(str(tmp_path / "a/b")) == str(tmp_path / "a/ModelBuild.toml")


def test_find_falls_back_to_the_folders_own_modelfile(tmp_path: Path) -> None:
    write(tmp_path, {".git/": "", "a/Modelfile": FROM, "a/b/": ""})
    assert discovery.find(str(tmp_path / "a")) == str(tmp_path / "a/Modelfile")
    assert discovery.find(str(tmp_path / "a/b")) is None


def test_double_star_matches_no_folder_too(tmp_path: Path) -> None:
    files = {"models/Modelfile": FROM, "models/a/Modelfile": FROM}
    assert labels(load(tmp_path, '[project]\nmodelfiles = ["models/**/Modelfile"]', files)) == ["models", "a"]


def test_discovery_passes_over_links_dot_folders_the_models_folder_and_other_projects(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        '[project]\nmodelfiles = ["**/Modelfile", "*/*.Modelfile", "[xl]/Modelfile"]\nmodels = "out/models"\n',
        {
            "a/Modelfile": FROM,
            "elsewhere/.hidden/b/Modelfile": FROM,
            "out/models/c/Modelfile": FROM,
            "nested/ModelBuild.toml": "",
            "nested/Modelfile": FROM,
            "nested/d/Modelfile": FROM,
            "l": "-> a",
            "e/Modelfile": "-> ../a/Modelfile",
            "e/f.Modelfile": "-> ../a/Modelfile",
        },
    )
    assert labels(loaded) == ["a"]


def test_a_spelled_out_path_is_followed(tmp_path: Path) -> None:
    files = {"real/a/Modelfile": FROM, "l": "-> real", ".dot/b/Modelfile": FROM, "real/c/Modelfile": FROM}
    loaded = load(tmp_path, '[project]\nmodelfiles = ["l/a/Modelfile", ".dot/b/Modelfile"]', files)
    assert labels(loaded) == ["b", "a"]


def test_a_link_that_goes_round_ends(tmp_path: Path) -> None:
    files = {"a/Modelfile": FROM, "a/b/up": "-> ../.."}
    assert labels(load(tmp_path, '[project]\nmodelfiles = ["**/Modelfile"]', files)) == ["a"]


def test_many_double_stars_find_each_file_once(tmp_path: Path) -> None:
    deep = "/".join("abcdefghijklmnop")
    loaded = load(tmp_path, f'[project]\nmodelfiles = ["{"**/" * 12}Modelfile"]', {f"{deep}/Modelfile": FROM})
    assert labels(loaded) == ["p"]


@pytest.mark.parametrize(
    ("path", "template", "name"),
    [
        ("x/chat/Modelfile", "{name}", "chat"),
        ("x/chat.Modelfile", "{name}", "chat"),
        ("x/Modelfile.chat", "{name}", "chat"),
        ("x/chat.txt", "{name}", None),
        ("x/y/Modelfile.chat", "{parent}-{folder}-{name}", "x-y-chat"),
    ],
)
def test_a_modelfile_names_its_model(path: str, template: str, name: str | None) -> None:
    assert name_after(path, template) == name


def test_folders_tell_modelfiles_apart_where_they_can() -> None:
    assert telling_apart(["x/a/Modelfile", "y/a/Modelfile"]) == "{parent}-{folder}"
    assert telling_apart(["x/a/Modelfile.b", "x/a/b.Modelfile"]) is None


def test_a_glob_that_ends_in_no_name_is_refused(tmp_path: Path) -> None:
    finder = Finder(str(tmp_path), None, Observed())
    for pattern in ("", "a/**", "..", "a\0b"):
        with pytest.raises(Error, match="cannot match a file"):
            list(finder.files(pattern))


def test_what_a_model_can_be_named() -> None:
    assert all(MODEL.fullmatch(name) for name in ("a", "a/b", "reg.io/a/b", "_x.1-2"))
    assert not any(MODEL.fullmatch(name) for name in ("", "a b", "a/b/c/d", "a:b", "/a", ".a", "a/"))
