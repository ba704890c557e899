"""A session: which project it finds, when its plan is kept, and what targets mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error, Errors
from modelbuild.plan import plan
from modelbuild.publish.written import Owner
from tests.e2e.in_process import InProcess
from tests.e2e.project import Project
from tests.plan.test_plan import gguf_file
from tests.session.conftest import Open


def test_a_plan_is_made_again_only_where_a_look_sees_something_else(
    start: Open, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    plan_ = plan.plan
    monkeypatch.setattr(plan, "plan", lambda *values, **named: made.append(1) or plan_(*values, **named))
    first = start().graph.encode()
    assert start().graph.encode() == first and len(made) == 1
    project.write("notes.txt", "nothing that the plan looks at")
    start().select(())
    assert len(made) == 1
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./weights"\n')
    assert start().graph.encode() != first and len(made) == 2


def test_a_plan_is_kept_by_what_was_asked_for(start: Open) -> None:
    keys = {start(**options).key for options in ({}, {"models": "elsewhere"}, {"name": "n"}, {"quantize": "q4_0"})}
    assert len(keys) == 4


def test_targets_are_variants_names_and_globs(start: Open) -> None:
    session = start()
    everything = [output.label for output in session.graph.outputs]
    assert [output.label for output in session.select(["chat"]).outputs] == ["chat"]
    assert [output.label for output in session.select(["*"]).outputs] == everything
    with pytest.raises(Errors, match="chatt"):
        session.select(["chatt"])


def test_a_project_is_looked_for_in_the_folder_and_above(start: Open, project: Project, tmp_path: Path) -> None:
    inside = project.write("deep/inside/text", "").parent
    assert start(folder=str(inside)).file == str(project.folder / "ModelBuild.toml")
    with pytest.raises(Error, match="no such folder"):
        start(folder=str(tmp_path / "none"))
    with pytest.raises(Error, match="no ModelBuild.toml here or above"):
        start(folder=str(tmp_path))
    with pytest.raises(Error, match="is a folder"):
        start(file="deep")
    weights = str(project.folder / "weights")
    for spelled in ("weights", "./weights/", "weights/.", "deep/../weights"):
        assert start(file=spelled).file == weights
    assert start(folder=weights, file=".").file == weights


def test_a_name_of_the_command_line_is_a_project_of_its_own(start: Open, project: Project) -> None:
    modelfile = project.write("one/Modelfile", "FROM ../weights\n")
    named = start(file=str(modelfile), name="mine")
    assert [output.names for output in named.graph.outputs] != [
        output.names for output in start(file=str(modelfile)).graph.outputs
    ]
    assert named.models._owner == Owner.of(str(modelfile), "mine")


def write(project: Project, name: str, data: str | bytes | None) -> None:
    """Make a file, or take it away; a text '-> x' makes a link."""
    path = project.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if isinstance(data, bytes):
        path.write_bytes(data)
    elif data is not None and data.startswith("-> "):
        path.symlink_to(data[3:])
    elif data is not None:
        path.write_text(data)


HUB = "hub/models--acme--tiny"
MANIFEST = "models/manifests/registry.ollama.ai/library/pulled/latest"
ODD = '[model.odd]\nfrom = "{}"\n'

MENDED: dict[str, tuple[str, dict[str, str | bytes | None], dict[str, str | bytes | None]]] = {
    "a folder that comes": (ODD.format("./later"), {}, {"later/model.safetensors": b"x"}),
    "a file that comes": (ODD.format("./later.gguf"), {}, {"later.gguf": gguf_file()}),
    "a file that is no longer garbage": (ODD.format("./x.gguf"), {"x.gguf": b"x"}, {"x.gguf": gguf_file()}),
    "a part that comes": (
        ODD.format("./x-00001-of-00002.gguf"), {"x-00001-of-00002.gguf": gguf_file()}, {"x-00002-of-00002.gguf": gguf_file()},
    ),
    "an index that is no longer garbage": (
        ODD.format("./c"),
        {"c/model.safetensors.index.json": "{", "c/model.safetensors": b"x"},
        {"c/model.safetensors.index.json": '{"weight_map": {"a": "model.safetensors"}}'},
    ),
    "a link to nothing that goes": (
        ODD.format("./c"), {"c/model.safetensors": b"x", "c/config.json": "-> nowhere"}, {"c/config.json": None},
    ),
    "a link to nothing that leads somewhere": (
        ODD.format("./c"), {"c/model.safetensors": b"x", "c/config.json": "-> ../there"}, {"there": "{}"},
    ),
    "a revision that is named": (
        ODD.format(f"./{HUB}"),
        {f"{HUB}/snapshots/{n}/model.safetensors": b"x" for n in ("a" * 40, "b" * 40)} | {f"{HUB}/refs/main": "x" * 5000},
        {f"{HUB}/refs/main": "a" * 40},
    ),
    "a Modelfile that comes": ('[model.odd]\nmodelfile = "m/Modelfile"\n', {}, {"m/Modelfile": "FROM base\n"}),
    "a Modelfile that is mended": (
        '[model.odd]\nmodelfile = "m/Modelfile"\n', {"m/Modelfile": "FORM base\n"}, {"m/Modelfile": "FROM base\n"},
    ),
    "a Modelfile that is found and mended": (
        '[project]\nmodelfiles = ["*/Modelfile"]\n', {"m/Modelfile": "FORM base\n"}, {"m/Modelfile": "FROM base\n"},
    ),
    "one Modelfile of two that goes": (
        '[project]\nmodelfiles = ["*/m/Modelfile"]\n', {"a/m/Modelfile": "FROM base\n", "b/m/Modelfile": "FROM base\n"},
        {"b/m/Modelfile": None},
    ),
    "a text that comes": (ODD.format("base") + 'system = { file = "s.txt" }\n', {}, {"s.txt": "s"}),
    "a text that becomes one": (ODD.format("base") + 'system = { file = "s.txt" }\n', {"s.txt": b"\xff"}, {"s.txt": "s"}),
    "an adapter that comes": (
        ODD.format("base") + 'adapters = [{ path = "a.gguf" }]\n', {}, {"a.gguf": gguf_file("adapter")},
    ),
    "an imatrix that comes": (ODD.format("./weights") + 'quantize = "q4_0"\nimatrix = "i.gguf"\n', {}, {"i.gguf": b"x"}),
    "a model that is pulled": (ODD.format("pulled"), {}, {MANIFEST: "{"}),
    "a base that is mended": (
        ODD.format("middle") + '[model.middle]\nmodelfile = "m"\n', {"m": "FORM base\n"}, {"m": "FROM base\n"},
    ),
    "a file where a folder was in its way": (ODD.format("./deep/x.gguf"), {"deep": "x"}, {"deep": None, "other": "x"}),
}  # fmt: skip


@pytest.mark.parametrize("case", MENDED)
def test_a_plan_with_broken_models_is_kept_and_what_is_mended_is_noticed(
    start: Open, project: Project, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    toml, before, after = MENDED[case]
    made = []
    plan_ = plan.plan
    monkeypatch.setattr(plan, "plan", lambda *values, **named: made.append(1) or plan_(*values, **named))
    whole = '[model.base]\nfrom = "./weights"\n' + toml
    project.write("ModelBuild.toml", whole)
    for name, data in before.items():
        write(project, name, data)

    def broken(cache: str) -> list[tuple[str, list[str]]]:
        return [
            (each.label, [str(error) for error in each.errors])
            for each in start(cache=str(project.folder / cache)).broken
        ]

    first = broken("cache")
    assert first and all(label != "base" for label, _ in first)
    assert broken("cache") == first and len(made) == 1
    for name, data in after.items():
        write(project, name, data)
    assert (broken("cache") == first) == (case == "a file where a folder was in its way")
    assert broken("cache") == broken("another cache")
    if case == "a link to nothing that goes":
        return  # that one comes is not looked for
    for name in after:
        write(project, name, before.get(name))
    assert broken("cache") == broken("a third cache")


def test_a_plan_of_a_project_that_is_wrong_as_a_whole_is_not_kept(start: Open, project: Project) -> None:
    project.write("ModelBuild.toml", "[modl.base]\n")
    for _ in range(2):
        with pytest.raises(Errors, match="unknown key 'modl'"):
            start().select(())


def test_a_selection_holds_what_is_broken_of_it(start: Open, project: Project) -> None:
    project.write(
        "ModelBuild.toml", '[model.base]\nfrom = "./weights"\n[model.odd]\nfrom = "./x"\n[group]\ng = ["base", "x"]\n'
    )
    session = start()
    for targets, outputs, broken in (
        ((), ["base"], ["odd", "[group.g]"]), (["base"], ["base"], []), (["o*"], [], ["odd"]), (["g"], ["base"], ["[group.g]"]),
    ):  # fmt: skip
        found = session.select(targets)
        assert [output.label for output in found.outputs] == outputs, targets
        assert [each.label for each in found.broken] == broken, targets


def test_a_renamed_model_is_no_base_any_more_however_long_it_stays_installed(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.checkpoint(layers=1)
    text = '[model.{}]\nfrom = "./weights"\n[model.chat]\nfrom = "{}"\nsystem = "S"\n'
    project.write("ModelBuild.toml", text.format("base", "base"))
    project.build()
    project.write("ModelBuild.toml", text.format("ground", "base"))
    for words, code in ((("check",), 1), ((), 2), (("chat",), 2)):
        project.run(*words, code=code)
        assert "left over from an earlier build of this project" in project.errors
    assert not (tmp_path / "ModelBuild.lock").exists()
    # A copy is the user's own, and a model that others put under the name is theirs.
    project.run("cp", "base", "frozen")
    project.write("ModelBuild.toml", text.format("ground", "frozen"))
    project.build()
    project.run("cp", "--force", "chat", "base")
    project.write("ModelBuild.toml", text.format("ground", "base"))
    project.build()
