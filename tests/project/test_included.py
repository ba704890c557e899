"""The globs of `include`: which files they take, which they refuse, and the way back up from a part."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.observed import Observed, unchanged
from modelbuild.project import included
from tests.projects import write

FILES = [
    "ModelBuild.toml", "a/ModelBuild.toml", "teams/x/ModelBuild.toml", "teams/x/deep/ModelBuild.toml", "teams/.dot/ModelBuild.toml",
    "teams/y/other.toml", "out/x/ModelBuild.toml", "real/ModelBuild.toml",
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = Path(os.path.realpath(tmp_path)) / "root"
    write(root, dict.fromkeys(FILES, ""))
    write(root, {"teams/link": "-> ../real", "teams/z/": ""})
    return root


def found(root: Path, glob: str, observed: Observed | None = None) -> list[str]:
    files = included.files(included.parse(glob), str(root), str(root / "out"), observed or Observed())
    return sorted(os.path.relpath(file, root) for file in files)


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("teams/*/ModelBuild.toml", ["teams/x/ModelBuild.toml"]),
        ("./teams//x/./ModelBuild.toml", ["teams/x/ModelBuild.toml"]),
        ("teams/[xy]/ModelBuild.toml", ["teams/x/ModelBuild.toml"]),
        ("teams/**/ModelBuild.toml", ["teams/x/ModelBuild.toml", "teams/x/deep/ModelBuild.toml"]),
        ("teams/**/**/deep/ModelBuild.toml", ["teams/x/deep/ModelBuild.toml"]),
        ("teams/.dot/ModelBuild.toml", ["teams/.dot/ModelBuild.toml"]),
        ("teams/link/ModelBuild.toml", ["teams/link/ModelBuild.toml"]),
        ("nothing/*/ModelBuild.toml", []),
        ("ModelBuild.toml", []),
        (
            "**/ModelBuild.toml",
            ["a/ModelBuild.toml", "real/ModelBuild.toml", "teams/x/ModelBuild.toml", "teams/x/deep/ModelBuild.toml"],
        ),
    ],
)
def test_a_glob_takes_files_and_never_the_project_itself(root: Path, glob: str, expected: list[str]) -> None:
    assert found(root, glob) == expected


@pytest.mark.parametrize(
    ("glob", "what"),
    [
        ("/etc/ModelBuild.toml", "takes files below this folder"),
        ("~/x/ModelBuild.toml", "takes files below this folder"),
        ("../x/ModelBuild.toml", "takes files below this folder"),
        ("a/\0/ModelBuild.toml", "takes files below this folder"),
        ("${dir}/ModelBuild.toml", "takes no variables"),
        ("teams/*", "expects files named ModelBuild.toml"),
        ("teams/**", "expects files named ModelBuild.toml"),
        ("teams/*/models.toml", "expects files named ModelBuild.toml"),
        ("", "expects files named ModelBuild.toml"),
        ("**/x/" * 40 + "ModelBuild.toml", "expected at most 50"),
    ],
)
def test_what_can_be_no_glob_of_files_is_refused(glob: str, what: str) -> None:
    with pytest.raises(Error, match=what):
        included.parse(glob)


def test_a_folder_is_answered_with_the_file_in_it() -> None:
    with pytest.raises(Error) as caught:
        included.parse("teams/*")
    assert caught.value.hint == "did you mean 'teams/*/ModelBuild.toml'?"


def test_a_hostile_glob_looks_into_no_folder_twice_and_gives_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, {f"t{i}/u{j}/": "" for i in range(12) for j in range(12)})
    begun = time.process_time()
    assert found(root, "**/*/**/*/**/*/**/*/**/*/**/*/**/*/**/ModelBuild.toml") == []
    assert time.process_time() - begun < 2
    monkeypatch.setattr(included, "FOLDERS", 50)
    with pytest.raises(Error, match="looks into more than 50 folders"):
        found(root, "**/ModelBuild.toml")


def test_a_new_part_is_seen_and_other_files_are_not(root: Path) -> None:
    observed = Observed()
    found(root, "teams/*/ModelBuild.toml", observed)

    def holds() -> bool:
        return unchanged(observed.looks(), lambda path: "")

    assert holds()
    write(root, {"teams/x/more": "", "other/x": ""})
    assert holds()
    write(root, {"teams/z/ModelBuild.toml": ""})
    assert not holds()


def above(root: Path, part: str, text: str | bytes) -> str | None:
    data = text.encode() if isinstance(text, str) else text
    (root / "ModelBuild.toml").write_bytes(data)
    file = included.project_of(str(root / part))
    return file and os.path.relpath(file, root)


@pytest.mark.parametrize(
    ("glob", "part", "is_part"),
    [
        ("teams/*/ModelBuild.toml", "teams/x/ModelBuild.toml", True),
        ("teams/*/ModelBuild.toml", "teams/x/deep/ModelBuild.toml", False),
        ("teams/**/ModelBuild.toml", "teams/x/deep/ModelBuild.toml", True),
        ("**/ModelBuild.toml", "teams/x/deep/ModelBuild.toml", True),
        ("**/ModelBuild.toml", "teams/.dot/ModelBuild.toml", False),
        ("teams/.dot/ModelBuild.toml", "teams/.dot/ModelBuild.toml", True),
        ("**/ModelBuild.toml", "ModelBuild.toml", False),
        ("teams/*", "teams/x/ModelBuild.toml", False),
        ("*/*/ModelBuild.toml", "teams/y/other.toml", False),
    ],
)
def test_from_a_part_the_project_is_found(root: Path, glob: str, part: str, is_part: bool) -> None:
    expected = "ModelBuild.toml" if is_part else None
    assert above(root, part, f'[project]\ninclude = ["{glob}"]\n') == expected
    if glob != "teams/*" and part.endswith("ModelBuild.toml"):
        assert (part in found(root, glob)) == is_part


def test_a_project_further_above_includes_too(root: Path) -> None:
    write(root, {"teams/ModelBuild.toml": '[[model.x.include]]\ntone = "a"\n', "teams/x/.git/": ""})
    assert (
        above(root, "teams/x/ModelBuild.toml", '[project]\ninclude = ["teams/x/ModelBuild.toml"]\n')
        == "ModelBuild.toml"
    )


@pytest.mark.parametrize(
    ("text", "is_part"),
    [
        ("", False),
        ("[project]\ninclude = 3\n", False),
        ("project = 3 # include\n", False),
        ('[project]\ninclude = [3, "/etc/ModelBuild.toml"]\n', False),
        ('[project]\ninclude = ["teams/*/ModelBuild.toml"\n', True),
        (b'[project]\ninclude = ["\xff/ModelBuild.toml"]\n', True),
        ("[project\n", False),
        ("include = " + "[" * 100_000, True),
    ],
)
def test_a_file_above_that_cannot_be_read_is_the_project_if_it_speaks_of_parts(
    root: Path, text: str | bytes, is_part: bool
) -> None:
    assert above(root, "teams/x/ModelBuild.toml", text) == ("ModelBuild.toml" if is_part else None)


def test_the_file_of_somebody_else_takes_nothing_in(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def of_others(path: str) -> os.stat_result:
        info = list(stat(path))
        info[4] = 4001 if path == str(root / "ModelBuild.toml") else 4002
        return os.stat_result(info)

    text = '[project]\ninclude = ["teams/*/ModelBuild.toml"]\n'
    assert above(root, "teams/x/ModelBuild.toml", text)
    monkeypatch.setattr("modelbuild.project.included.os.stat", of_others)
    assert above(root, "teams/x/ModelBuild.toml", text) is None


@pytest.mark.parametrize(("glob", "meant"), [("**", "**/ModelBuild.toml"), ("teams/**", "teams/**/ModelBuild.toml")])
def test_a_glob_of_folders_is_completed(glob: str, meant: str) -> None:
    with pytest.raises(Error) as caught:
        included.parse(glob)
    assert caught.value.hint == f"did you mean '{meant}'?"


def test_a_project_above_that_takes_in_others_leaves_this_one_out(root: Path) -> None:
    file = str(root / "teams/x/ModelBuild.toml")
    assert included.left_out_by(file) is None
    write(root, {"ModelBuild.toml": '[project]\ninclude = ["a/ModelBuild.toml"]\n'})
    assert included.project_of(file) is None and included.left_out_by(file) == str(root / "ModelBuild.toml")
    assert included.left_out_by(str(root / "ModelBuild.toml")) is None
    assert included.left_out_by(str(root / "teams/x/Modelfile")) is None
    for text in ("[project]\ninclude = []\n", "[model.include]\n", ""):
        write(root, {"ModelBuild.toml": text})
        assert included.left_out_by(file) is None
