"""`modelbuild affected` for the whole table of edits, and what it prints. A golden of all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.test_commands import GOLDEN
from tests.e2e.test_explain import EDITS, MODELFILE, PIRATE, TOML
from tests.session.test_revision import git

BUILT = {"name removed from the models folder", "reverted", "touched"}
"""Edits that are none of the sources."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    project = InProcess(tmp_path_factory.mktemp("affected"))
    project.write("ModelBuild.toml", TOML)
    project.write(MODELFILE, PIRATE)
    project.write(".gitignore", "/cache\n/models\n")
    project.checkpoint()
    project.checkpoint("others", vocabulary=310)
    git(project.folder, "init", "-q")
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-qm", "one")
    return project


def said(project: InProcess, *words: str, code: int = 0) -> str:
    out = project.run("affected", *words, code=code)
    return re.sub(r"\(?[0-9a-f]{12}\)?", "<commit>", (out + project.errors).replace(str(project.folder), "<project>"))


def same(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def of_edits(project: InProcess, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        EDITS[name](project)
        yield f"== {name}\n{said(project, '--since', 'HEAD')}"
        git(project.folder, "checkout", "-q", ".")
        git(project.folder, "clean", "-fdq")


def test_a_third_of_the_table(project: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    told = (GOLDEN / "affected_edits.txt").read_text()
    for each in of_edits(project, sorted(EDITS.keys() - BUILT)[::3]):
        assert f"\n{each}\n" in f"\n{told}\n"
    assert "no variant differs" in said(project, "--since", "HEAD")


@pytest.mark.peer
def test_every_edit_of_the_table(project: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    same("affected_edits.txt", "\n".join(sorted(of_edits(project, EDITS.keys() - BUILT))))


def test_a_table_for_a_review(project: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    EDITS["two edits"](project)
    (project.folder / "m.Modelfile").write_text("FROM base\nSYSTEM @all `x` | <b>\n")
    with (project.folder / "ModelBuild.toml").open("a") as file:
        file.write('[model.odd]\nmodelfile = "m.Modelfile"\nquantize = "q5_0"\n')
    same("affected_markdown.txt", said(project, "--since", "HEAD", "--markdown"))
    found = json.loads(project.run("affected", "--since", "HEAD", "--json"))
    assert {each["label"]: each["change"] for each in found["variants"]} == {
        "base:q8_0": "changed", "base:mine": "changed", "pirate": "changed", "plain": "changed", "odd": "added",
    }  # fmt: skip
    assert found["since"] == "HEAD" and len(found["commit"]) == 40 and found["unchanged"] == 0
    pirate = next(each for each in found["variants"] if each["label"] == "pirate")
    assert pirate["before"]["types"] == pirate["after"]["types"] == {"q4_k": 12, "f32": 5, "q6_k": 4}
    git(project.folder, "checkout", "-q", ".")
    git(project.folder, "clean", "-fdq")


def test_errors_say_what_to_do(project: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    assert "git knows no revision 'nope'" in said(project, "--since", "nope", code=2)
    assert "--since is missing" in said(project, code=2)
    both = said(project, "--since", "HEAD", "--markdown", "--targets", code=2)
    assert "--markdown and --targets cannot be used together" in both
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    other = InProcess(tmp_path)
    other.write("ModelBuild.toml", "")
    assert "not in a git repository" in said(other, "--since", "HEAD", code=2)


def test_a_name_of_two_lines_is_no_line(project: InProcess) -> None:
    text = (project.folder / "ModelBuild.toml").read_text()
    project.write("ModelBuild.toml", text + '\n[model."a\\nb"]\nfrom = "./weights"\n')
    try:
        project.run("affected", "--since", "HEAD", "--targets", code=2)
        assert "contains a line break" in project.errors
    finally:
        project.write("ModelBuild.toml", text)
