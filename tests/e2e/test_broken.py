"""A project of two hundred variants of which three are broken: nobody who needs none of those notices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.in_process import InProcess
from tests.e2e.project import Project
from tests.e2e.test_watch import Watch

COUNT = 197
TOML = """
[project]
modelfiles = ["*/Modelfile"]
[model.base]
from = "./weights"
quantize = "q8_0"
[model.many]
from = "base"
system = "You are number ${matrix.number}."
matrix.number = [%s]
[group]
best = ["many:1", "talk"]
all = ["*"]
"""
TALK = "FROM base\nSYSTEM talk\n"
BROKEN = {"typo": "FORM base\n", "missing": "FROM ./nowhere\n", "unknown": "FROM bsae\n"}
WHY = {
    "typo": "typo/Modelfile:1:1: unknown instruction 'FORM'",
    "missing": "missing/Modelfile:1:6: no such file or folder: './nowhere'",
    "unknown": "unknown/Modelfile:1:6: no model 'bsae'",
}


def write(project: Project, count: int = COUNT - 2) -> Project:
    project.checkpoint(layers=1)
    project.write("ModelBuild.toml", TOML % ", ".join(map(str, range(count))))
    project.write("talk/Modelfile", TALK)
    for name, text in BROKEN.items():
        project.write(f"{name}/Modelfile", text)
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, of which all is built that can be."""
    made = write(InProcess(tmp_path_factory.mktemp("many")))
    made.run("talk")
    assert "error" not in made.errors
    assert "1 model built (" in made.errors
    made.run("-k", code=1)
    assert made.errors.splitlines()[-1].startswith(
        f"{COUNT - 1} built, 1 unchanged, 3 failed: missing, typo, unknown ("
    )
    yield made
    made.check()


def told(project: Project) -> bool:
    """Whether the three faults were told, each once, and nothing else."""
    return project.errors.count("error: ") == 3 and all(project.errors.count(why) == 1 for why in WHY.values())


def test_targets_that_need_nothing_broken_are_built(project: Project) -> None:
    for words in (("talk",), ("many",), ("best",), ("many:7", "base")):
        project.run(*words)
        assert "broken" not in project.errors and "error" not in project.errors
    project.run("talk")
    assert project.errors.startswith("nothing to do: 1 model unchanged")
    project.run("-v", "talk")
    assert "broken, and not needed here: missing, typo, unknown" in project.errors


@pytest.mark.parametrize("words", [(), ("all",), ("*",), ("talk", "typo", "missing", "unknown"), ("-n",)])
def test_without_k_what_is_broken_is_an_error_before_any_work(project: Project, words: tuple[str, ...]) -> None:
    project.write("talk/Modelfile", TALK + "PARAMETER seed 1\n")
    before = project.tree()
    assert project.run(*words, code=2) == ""
    assert told(project) and project.tree() == before
    count = 1 if "talk" in words else COUNT
    verb = "would be" if "-n" in words else "was"
    assert project.errors.endswith(
        f"nothing {verb} built; -k builds the {count} model{'s' * (count > 1)} that can be built\n"
    )
    project.write("talk/Modelfile", TALK)


def test_with_k_all_else_is_built_and_the_end_says_which_failed(project: Project) -> None:
    project.write("talk/Modelfile", TALK + "PARAMETER seed 2\n")
    project.run("-k", code=1)
    assert told(project)
    assert " run talk" in project.errors, "what was built can be run all the same"
    last = f"1 built, {COUNT - 1} unchanged, 3 failed: missing, typo, unknown ("
    assert project.errors.splitlines()[-1].startswith(last)
    assert json.loads(project.blob("talk:latest", "params")) == {"seed": 2}
    assert project.run("-n", "-k", code=1) == "" and told(project)
    project.run("-k", "typo", code=1)
    assert project.errors.splitlines()[-1].startswith("0 built, 1 failed: typo")
    project.write("talk/Modelfile", TALK)
    project.run("talk")


def test_events_name_what_is_broken(project: Project) -> None:
    project.build("-k", code=1)
    broken = [event for event in project.events if event["event"] == "broken"]
    assert [(event["label"], event["names"]) for event in broken] == [
        (name, [f"{name}:latest"]) for name in ("missing", "typo", "unknown")
    ]
    assert all(WHY[event["label"]] in event["error"] for event in broken)
    assert [event["event"] for event in project.events[-4:]] == ["error"] * 3 + ["summary"]


def test_list_marks_what_is_broken_and_says_why(project: Project) -> None:
    table = project.run("list").splitlines()
    assert told(project) and len(table) == 1 + COUNT + 3
    assert [line.split()[0] for line in table if line.endswith("  broken")] == [
        f"{name}:latest" for name in sorted(WHY)
    ]
    rows = {row["label"]: row for row in json.loads(project.run("list", "--json"))}
    assert {label for label, row in rows.items() if row["built"] == "broken"} == set(WHY)
    assert all(WHY[label] in rows[label]["error"] for label in WHY) and rows["talk"]["built"] == "yes"
    assert len(project.run("list", "talk").splitlines()) == 2 and not project.errors
    assert project.run("list", "typo").splitlines()[1].endswith("  broken")


def test_show_and_quality_of_one_heed_no_other(project: Project) -> None:
    assert re.search(r"system +talk  talk/Modelfile:2", project.run("show", "talk")) and not project.errors
    assert project.run("show", "typo", code=2) == "" and WHY["typo"] in project.errors
    assert "many:0" in project.run("show", "many:0")
    assert project.run("quality", "talk").count("q8_0") > 1
    assert "base:latest" in project.run("quality", code=1) and told(project)


def test_check_and_explain_say_all_and_of_a_target_what_it_needs(project: Project) -> None:
    assert project.run("check", code=1).count("\n") == 1 + COUNT and told(project)
    project.run("check", "talk")
    assert "1 model checked, nothing wrong" in project.errors
    project.run("explain", code=1)
    assert told(project) and f"nothing to rebuild: {COUNT} models unchanged\n" in project.errors
    project.run("explain", "talk")
    assert project.errors == "nothing to rebuild: 1 model unchanged\n"


def test_graph_marks_what_is_broken(project: Project) -> None:
    for words in (("graph",), ("graph", "--steps")):
        text = project.run(*words).splitlines()
        assert len([line for line in text if "  broken: " in line]) == 3
        assert all(any(line.startswith(f"{name}:latest  broken: {why}") for line in text) for name, why in WHY.items())
    for form in ("dot", "mermaid"):
        assert all(why in project.run("graph", "--format", form) for why in WHY.values())
    assert [each["label"] for each in json.loads(project.run("graph", "--json"))["broken"]] == sorted(WHY)
    assert "broken" not in project.run("graph", "talk")


def test_what_was_built_of_a_model_that_is_broken_now_is_not_stale(project: Project) -> None:
    before = project.tree()
    project.write("talk/Modelfile", "FORM base\n")
    project.run("many:1")
    assert "no longer declared" not in project.errors
    assert project.run("clean", "--stale") == ""
    toml = (project.folder / "ModelBuild.toml").read_text()
    # Of a table that is wrong nobody knows what its models are called.
    project.write("ModelBuild.toml", toml.replace("[model.many]", "[model.many]\nnmae = 'odd'"))
    project.write("talk/Modelfile", TALK)
    project.run("talk")
    assert "no longer declared" not in project.errors
    assert project.run("clean", "--stale", code=2) == ""
    assert "the names of 'many' are unknown" in project.errors and "unknown key 'nmae'" in project.errors
    project.write("ModelBuild.toml", toml)
    after = project.tree()
    assert after.items() <= before.items()
    named = b"".join(text for path, text in after.items() if path.startswith("manifests/"))
    assert not [path for path in before.keys() - after if path[-64:].encode() in named]


def test_what_is_mended_is_built_and_what_breaks_again_is_told(project: Project) -> None:
    (project.folder / "nowhere.gguf").write_bytes(b"not one")
    project.write("missing/Modelfile", "FROM ../nowhere.gguf\n")
    project.run("missing", code=2)
    assert "nowhere.gguf" in project.errors
    source = next(layer for layer in project.manifest("base:latest")["layers"] if layer["mediaType"].endswith("model"))
    blob = project.models / "blobs" / source["digest"].replace(":", "-")
    (project.folder / "nowhere.gguf").write_bytes(blob.read_bytes())
    project.run("missing")
    (project.folder / "nowhere.gguf").unlink()
    project.run("missing", code=2)
    assert "no such file or folder: '../nowhere.gguf'" in project.errors
    project.write("missing/Modelfile", BROKEN["missing"])
    project.run("missing", code=2)
    assert WHY["missing"] in project.errors


def test_a_base_that_is_broken_stops_what_stands_on_it_for_its_cause(project: Project) -> None:
    project.write("kid/Modelfile", "FROM typo\n")
    project.write("grandkid/Modelfile", "FROM kid\n")
    project.run("grandkid", code=2)
    assert WHY["typo"] in project.errors and project.errors.count("error: ") == 1
    project.run(code=2)
    assert told(project) and "used by  'grandkid', 'kid', 'typo'" in project.errors
    for name in ("kid", "grandkid"):
        (project.folder / name / "Modelfile").unlink()


def test_watch_builds_what_is_saved_and_shows_what_stands_below(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    project = watch.project
    write(project, 3)
    with watch.running():
        watch.until(lambda: "6 built, 3 failed: missing, typo, unknown (" in watch.text)
        for name, why in WHY.items():
            assert watch.text.count(why) == 1, name
        project.write("talk/Modelfile", "FROM base\nSYSTEM other\n")
        watch.until(lambda: "1 built, 5 unchanged, 3 failed: missing, typo, unknown (" in watch.text)
        assert project.blob("talk:latest", "system") == b"other"
        assert all(watch.text.count(why) == 2 for why in WHY.values())
        project.write("typo/Modelfile", "FORM ./nowhere\n")
        watch.until(lambda: "FORM ./nowhere" in watch.text)
        project.write("typo/Modelfile", "FROM base\nSYSTEM mended\n")
        watch.until(lambda: "1 built, 6 unchanged, 2 failed: missing, unknown (" in watch.text)
        assert project.blob("typo:latest", "system") == b"mended"
