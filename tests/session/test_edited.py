"""An edit of a few Modelfiles is planned and built alone, and whatever is edited: the plan is that of a session that knows nothing yet."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.session import building
from modelbuild.session.kept_plan import KeptPlan
from modelbuild.session.session import Session
from modelbuild.session.settings import Settings
from modelbuild.words import listed, plural
from tests.e2e.in_process import InProcess
from tests.e2e.project import flip

SIZE = {"layers": 1, "hidden": 64, "intermediate": 64, "vocabulary": 270}
TOML = """
[project]
modelfiles = ["src/*/Modelfile"]
[defaults]
quantize = "q8_0"
[model."q-*".matrix]
quantize = ["q8_0", "f16"]
[model."q-*".default]
quantize = "f16"
[model.table]
extends = "a"
parameters = { top_k = 7 }
"""


def plan_of(project: InProcess, cache: Path) -> KeptPlan:
    places = {"folder": str(project.folder), "models": str(project.models), "cache": str(cache)}
    session = Session(Settings(**places))  # type: ignore[arg-type]
    try:
        plan = session._plan
        plan.values  # noqa: B018 (read while the database is open)
        return plan
    finally:
        session.close()


def described(plan: KeptPlan) -> dict[str, object]:
    """All of a plan but the order of steps that need one another not."""
    errors = [(each.model, each.label, each.names, each.row, [*map(str, each.errors)]) for each in plan.broken]
    return {
        "steps": plan.graph.steps,
        "outputs": plan.graph.outputs,
        "broken": errors,
        "warnings": [*map(str, plan.warnings)],
        "remarks": [(each.labels, str(each.error), each.minor) for each in plan.remarks],
        "words": {word: [*labels] for word, labels in plan.words.labels.items()},
        "default": [*plan.words.default],
        "outside": plan.outside,
        "models": (plan.root, plan.models),
    }


@pytest.fixture
def project(tmp_path: Path) -> InProcess:
    found = InProcess(tmp_path / "project")
    found.checkpoint("w0", **SIZE)
    found.write("ModelBuild.toml", TOML)
    for name in ("a", "q-b", "c"):
        found.write(f"src/{name}/Modelfile", f"FROM ../../w0\nSYSTEM I am {name}.\nPARAMETER seed 1\n")
    found.write("src/on/Modelfile", "FROM q-b\nSYSTEM I am on it.\n")
    return found


def settled(project: InProcess) -> None:
    """Build until a stamp stands."""
    project.run()
    time.sleep(0.03)
    project.run()
    assert "nothing to do" in project.errors or not project.errors or project.run() == ""


def planned(*args: object) -> None:
    raise AssertionError("all was planned anew")


@pytest.mark.parametrize(
    ("name", "text", "steps"),
    [
        ("a", "FROM ../../w0\nSYSTEM I am new.\nPARAMETER seed 1\n", 2),
        ("q-b", "FROM ../../w0\nSYSTEM I am new.\nLICENSE mine\nPARAMETER stop x\n", 5),
        ("on", "FROM q-b\n", 1),
        ("c", "FROM ../../w0\nTEMPLATE {{ .Prompt }}\nPARAMETER seed 2\nMESSAGE user hi\n", 4),
    ],
)
@pytest.mark.parametrize("save", ["write", "replace"])
def test_an_edit_of_a_modelfile_is_planned_alone(
    project: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, steps: int, save: str
) -> None:
    settled(project)
    file = project.folder / f"src/{name}/Modelfile"
    if save == "write":
        file.write_text(text)
    else:
        project.write(f"src/{name}/new", text).replace(file)
    with monkeypatch.context() as patched:
        patched.setattr(Session, "_make", planned)
        project.run()
        assert "built" in project.errors
        time.sleep(0.03)
        project.run()
        project.run()
        assert "nothing to do: 6 models unchanged" in project.errors
    assert described(plan_of(project, project.cache)) == described(plan_of(project, tmp_path / "clean"))
    project.check()


@pytest.mark.parametrize("name", ["p/a", "p/b", "p/c", "src/on", "src/a", "q/a"])
def test_an_edit_of_a_modelfile_is_planned_alone_in_a_project_with_parts(
    project: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    project.write("ModelBuild.toml", TOML.replace("[project]\n", '[project]\ninclude = ["[pq]/ModelBuild.toml"]\n'))
    project.write(
        "p/ModelBuild.toml",
        """
        [project]
        modelfiles = ["*/Modelfile"]
        [vars]
        who = "p"
        [model.t]
        extends = "c"
        system = "I am ${who}."
        """,
    )
    project.write("q/ModelBuild.toml", '[project]\nmodelfiles = ["*/Modelfile"]\n[model.u]\nextends = "p/t"\n')
    for model in ("p/a", "p/c", "q/a"):
        project.write(f"{model}/Modelfile", f"FROM ../../w0\nSYSTEM I am {model}.\n")
    project.write("p/b/Modelfile", "FROM a\nSYSTEM I am b of p.\n")
    project.write("src/on/Modelfile", "FROM p/b\nSYSTEM I am on it.\n")
    settled(project)
    file = project.folder / name / "Modelfile"
    file.write_text(file.read_text().split("SYSTEM")[0] + "SYSTEM I am new.\n")
    with monkeypatch.context() as patched:
        patched.setattr(Session, "_make", planned)
        project.run()
        assert "built" in project.errors
        time.sleep(0.03)
        project.run()
        project.run()
        assert "nothing to do" in project.errors
    assert described(plan_of(project, project.cache)) == described(plan_of(project, tmp_path / "clean"))
    project.check()


@pytest.mark.parametrize(
    ("old", "new", "built"),
    [
        ("top_k = 7", "top_k = 8", 1),
        ("[model.table]", "# Tables\n\n[model.table]\nsystem = 'I am new.'", 1),
        ("top_k = 7 }\n", "top_k = 7 }\nsystem = 'I am new.'\ntemplate = '{{ .Prompt }}'\nlicense = 'mine'\n", 1),
        ("[model.c]", "[model.c]\nmessages = [{ role = 'user', content = 'hi' }]", 2),
        ("[model.table]", "# A remark\n[model.table]", 0),
    ],
)
def test_an_edit_of_a_table_is_planned_alone(
    project: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, built: int
) -> None:
    tables = TOML + "[model.c]\nparameters = { top_p = 0.5 }\n"
    project.write("ModelBuild.toml", tables)
    project.write("src/on/Modelfile", "FROM c\nSYSTEM I am on it.\n")
    settled(project)
    project.write("ModelBuild.toml", tables.replace(old, new))
    with monkeypatch.context() as patched:
        patched.setattr(Session, "_make", planned)
        project.run()
        assert (
            f"{plural(built, 'model')} built, {6 - built} unchanged" if built else "nothing to do"
        ) in project.errors
        time.sleep(0.03)
        project.run()
        project.run()
        assert "nothing to do: 6 models unchanged" in project.errors
    assert described(plan_of(project, project.cache)) == described(plan_of(project, tmp_path / "clean"))
    project.check()


def test_a_table_whose_build_did_not_come_to_its_end_is_built_next(
    project: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(project)
    monkeypatch.setattr(Session, "_make", planned)

    def failing(*args: object) -> None:
        raise Error("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(building, "_build", failing)
        project.write("ModelBuild.toml", TOML.replace("top_k = 7", "top_k = 8"))
        project.run(code=None)
    project.write("ModelBuild.toml", TOML.replace("top_k = 7", "top_k = 8") + "# A remark\n")
    project.run()
    assert "1 model built, 5 unchanged" in project.errors
    project.check()


def test_a_modelfile_that_is_mended_is_planned_alone(
    project: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(project)
    project.write("src/c/Modelfile", "FROM ../../w0\nSISTEM I am c.\nPARAMETER seed 1\n")
    project.run("-k", code=None)
    assert "SISTEM" in project.errors
    project.run("-k", code=None)
    project.write("src/c/Modelfile", "FROM ../../w0\nSYSTEM I am new.\nPARAMETER seed 1\n")
    with monkeypatch.context() as patched:
        patched.setattr(Session, "_make", planned)
        project.run()
        assert "1 model built, 5 unchanged" in project.errors
        time.sleep(0.03)
        project.run()
        project.run()
        assert "nothing to do: 6 models unchanged" in project.errors
        assert not plan_of(project, project.cache).broken
    assert described(plan_of(project, project.cache)) == described(plan_of(project, tmp_path / "clean"))
    project.check()


FAULTS = {
    "its text": "FROM ../../w0\nSISTEM I am c.\n",
    "its weights": "FROM ./nowhere\nSYSTEM I am c.\n",
}


def broken(project: InProcess, text: str, extra: str = "") -> str:
    """Break a model for good; returns the errors of each build from then on."""
    project.write("ModelBuild.toml", TOML + extra)
    project.write("src/c/Modelfile", text)
    for _ in range(3):
        project.run("-k", code=1)
        time.sleep(0.03)
    return project.errors.rpartition(" (")[0]


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS)
def test_with_a_broken_model_an_edit_of_another_is_planned_alone(
    project: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    said = broken(project, text)
    assert "0 built, 5 unchanged, 1 failed: c" in said
    with monkeypatch.context() as patched:
        patched.setattr(Session, "_make", planned)
        patched.setattr(building, "_build", planned)
        project.run("-k", code=1)
        assert project.errors.rpartition(" (")[0] == said
        project.run(code=2)
        assert project.errors.splitlines()[:-1] == said.splitlines()[:-1]
        assert project.errors.splitlines()[-1] == "nothing was built; -k builds the 5 models that can be built"
    for name in ("q-b", "on"):
        file = project.folder / f"src/{name}/Modelfile"
        file.write_text(file.read_text().replace("I am", "I was"))
        with monkeypatch.context() as patched:
            patched.setattr(Session, "_make", planned)
            before = project.tree()
            project.run(code=2)
            assert project.tree() == before
            assert "nothing was built; -k builds the 5 models that can be built" in project.errors
            project.run("-k", code=1)
            assert "unchanged, 1 failed: c" in project.errors and "0 built" not in project.errors
            time.sleep(0.03)
            project.run("-k", code=1)
            project.run("-k", code=1)
            assert project.errors.rpartition(" (")[0] == said
        assert described(plan_of(project, project.cache)) == described(plan_of(project, tmp_path / f"clean {name}"))
    project.write("src/c/Modelfile", "FROM ../../w0\nSYSTEM I am mended.\n")
    project.run()
    assert "1 model built, 5 unchanged" in project.errors
    project.write("src/a/Modelfile", "FROM ../../w0\nSISTEM I am a.\n")
    project.run("-k", code=1)
    assert "2 failed: table, a" in project.errors
    project.check()


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS)
def test_targets_that_are_not_broken_are_edited_alone(
    project: InProcess, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    broken(project, text)
    for _ in range(3):
        project.run("on", "q-b")
        time.sleep(0.03)
    assert "nothing to do: 3 models unchanged" in project.errors
    monkeypatch.setattr(Session, "_make", planned)
    project.write("src/on/Modelfile", "FROM q-b\nSYSTEM I am new.\n")
    project.run("on", "q-b")
    assert "1 model built, 2 unchanged" in project.errors


def test_a_modelfile_that_a_broken_model_takes_too_is_seen(project: InProcess) -> None:
    child = "[model.child]\nextends = 'c'\n[model.child.parameters]\nnum_gqa = '${no}'\n"
    broken(project, "FROM ../../w0\nSYSTEM I am c.\n", child)
    assert "1 failed: child" in project.errors
    project.write("src/c/Modelfile", "FROM ../../w0\nSISTEM I am c.\n")
    project.run("-k", code=1)
    assert "2 failed: child, c" in project.errors and "SISTEM" in project.errors


def test_an_output_that_was_removed_is_put_again_alone(project: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(project)
    before = project.tree()
    (project.models / "manifests/registry.ollama.ai/library/c/latest").unlink()
    monkeypatch.setattr(Session, "_make", planned)
    project.run()
    assert "1 model built, 5 unchanged" in project.errors
    assert project.tree() == before


def test_a_model_that_appears_while_an_edit_is_built_is_seen_next(
    project: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The edit came with a change of the folder in which the plan saw the same as before."""
    settled(project)
    folder = project.folder / "src"
    project.write("src/a/Modelfile", "FROM ../../w0\nSYSTEM I am new.\nPARAMETER seed 1\n")
    folder.rename(folder.with_name("away"))
    folder.with_name("away").rename(folder)
    publish = building._Building._put

    def put(self: building._Building, *given: Any) -> bool:
        project.write("src/late/Modelfile", "FROM ../../w0\nSYSTEM I am late.\n")
        time.sleep(0.03)
        return publish(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(building._Building, "_put", put)
        patched.setattr(Session, "_make", planned)
        project.run()
    assert "a:latest" in project.errors and "late:" not in project.errors
    project.run()
    assert "late:latest" in project.errors


def test_a_change_of_weights_reaches_all(project: InProcess) -> None:
    settled(project)
    path = project.folder / "w0/model.safetensors"
    flip(path, path.stat().st_size - 10)
    project.run()
    assert "6 models built" in project.errors


class Edits:
    """A project that is edited at random."""

    files = ("src/*/Modelfile",)
    bases = ("../../w0", "../../w0", "../../w0", "../../w1", "a", "q-b", "q-b:q8_0", "c", "nothing")

    def __init__(self, project: InProcess, seed: int) -> None:
        self.random = random.Random(seed)
        self.project = project
        self.models = project.folder / "src"

    def text(self) -> str:
        pick = self.random.choice
        lines = [f"FROM {pick(self.bases)}"]
        if pick([True, True, False]):
            lines.append(f"SYSTEM I am {pick(['x', 'y', 'z'])}.")
        for name, values in (("seed", [1, 2]), ("stop", ["a", "b"]), ("mirostat", [1]), ("num_gqa", [1])):
            if pick([True, False, False]):
                lines.append(f"PARAMETER {name} {pick(values)}")
        lines += [
            pick(["", "", "TEMPLATE {{ .Prompt }}", "LICENSE mine", "MESSAGE user hi", "SISTEM x", "ADAPTER ./no"])
        ]
        return "\n".join(lines) + "\n"

    def any(self) -> Path:
        return self.random.choice(sorted(path for glob in self.files for path in self.project.folder.glob(glob)))

    def rewrite(self) -> None:
        self.any().write_text(self.text())

    def reword(self) -> None:
        file = self.any()
        lines = file.read_text().splitlines()
        kept = [line for line in lines if not line.startswith("SYSTEM")]
        new = file.with_name("new")
        new.write_text("\n".join([*kept, f"SYSTEM {self.random.random()}"]) + "\n")
        new.replace(file)

    def add(self) -> None:
        self.project.write(f"src/{self.random.choice(['d', 'q-e', 'f', 'Q-E'])}/Modelfile", self.text())

    def delete(self) -> None:
        if len(list(self.models.glob("*/Modelfile"))) > 2:
            shutil.rmtree(self.any().parent)

    def rename(self) -> None:
        folder = self.any().parent
        target = self.models / self.random.choice(["g", "q-h", "a", "c"])
        if not target.exists():
            folder.rename(target)

    def tables(self) -> None:
        toml = TOML.replace("top_k = 7", f"top_k = {self.random.randint(1, 3)}")
        pick = self.random.choice
        toml = toml.replace('["q8_0", "f16"]', pick(['["q8_0", "f16"]', '["f16"]', '["f16", "q4_0", "q8_0"]']))
        toml = toml.replace('extends = "a"', pick(['extends = "a"', 'extends = "c"', 'from = "./w0"', 'from = "q-b"']))
        toml = toml.replace(
            "[defaults]\n", pick(["[defaults]\n", '[defaults]\nsystem = "d"\n', '[defaults]\nrenderer = "r"\n'])
        )
        self.project.write("ModelBuild.toml", toml)

    def values(self) -> None:
        """Edit what few models reach."""
        file, pick = self.project.folder / "ModelBuild.toml", self.random.choice
        text = file.read_text().partition("parameters = { top_k")[0]
        text += f"parameters = {{ top_k = {self.random.randint(1, 3)} }}\n"
        said = ["", "# A remark\n", 'system = "I am x."\n', 'license = "${no}"\n', "mirostat = 1\n", 'name = "a"\n']
        file.write_text(text + pick(said) + pick(["", "", "[model.on]\nsystem = 'on'\n"]))

    def weights(self) -> None:
        path = self.project.folder / "w0/model.safetensors"
        flip(path, path.stat().st_size - 2 * self.random.randrange(1, 500), self.random.choice([1, 2]))

    def more_weights(self) -> None:
        other = self.project.folder / "w1"
        if other.exists():
            shutil.rmtree(other)
        else:
            shutil.copytree(self.project.folder / "w0", other)

    def edit(self) -> None:
        often: list[Callable[[], None]] = [self.rewrite, self.reword, self.reword]
        rarely = [
            self.values,
            self.values,
            self.add,
            self.delete,
            self.rename,
            self.tables,
            self.weights,
            self.more_weights,
        ]
        self.random.choice([*often, *often, *often, *rarely])()


class EditsOfParts(Edits):
    """A project with a part is edited at random: models of either extend, and are FROM, models of the other."""

    files = ("src/*/Modelfile", "p/*/Modelfile")
    bases = (*Edits.bases, "p/a", "p/b", "b")

    def __init__(self, project: InProcess, seed: int) -> None:
        super().__init__(project, seed)
        self.tables()
        self.part()
        for name in ("a", "b"):
            project.write(f"p/{name}/Modelfile", f"FROM {self.bases[0]}\nSYSTEM I am p/{name}.\n")

    def tables(self) -> None:
        super().tables()
        file = self.project.folder / "ModelBuild.toml"
        include = self.random.choice(['["p/ModelBuild.toml"]', '["*/ModelBuild.toml"]'])
        file.write_text(file.read_text().replace("[project]\n", f"[project]\ninclude = {include}\n"))

    def part(self) -> None:
        pick = self.random.choice
        table = pick(['extends = "a"', 'extends = "b"', 'extends = "c"', 'from = "c"', 'from = "../w0"'])
        project = pick(["", 'name = "p"\n'])
        top_k = self.random.randint(1, 3)
        self.project.write(
            "p/ModelBuild.toml",
            f"[project]\n{project}modelfiles = ['*/Modelfile']\n[model.t]\n{table}\nparameters = {{ top_k = {top_k} }}\n",
        )

    def edit(self) -> None:
        self.part() if self.random.random() < 0.15 else super().edit()


def knowing_what_was_written(cache: Path, before: Path) -> None:
    """An empty cache that knows what the other one does of the names in models folders."""
    new, old = Store(str(cache)), Store(str(before))
    rows = old.database.rows("select folder, name, project, manifest from wrote")
    new.database.change(("insert or replace into wrote values (?, ?, ?, ?)", rows))
    new.close()
    old.close()


def says_the_same_again(project: InProcess) -> None:
    """What a stamp tells again is what a build tells that goes by none, as those do that print JSON."""
    time.sleep(0.03)
    project.run("-k", code=None)
    project.run("-k", code=None)
    said = project.errors
    events = [json.loads(line) for line in project.run("-k", "--json", code=None).splitlines()]
    stale = [listed(f"'{name}'" for name in each["names"]) for each in events if each["event"] == "stale"]
    told = [line.partition(";")[0] for line in said.splitlines() if line.startswith("no longer declared: ")]
    assert told == [f"no longer declared: {names}" for names in stale]
    of_json = project.errors.splitlines()
    assert [each for each in said.splitlines() if each.startswith("error: ")] == [
        each for each in of_json if each.startswith("error: ")
    ]


def sequence(project: InProcess, tmp_path: Path, edits: Edits, seed: int, count: int) -> None:
    project.run("-k", code=None)
    for number in range(count):
        for _ in range(edits.random.choice([1, 1, 1, 2, 3])):
            edits.edit()
        if edits.random.random() < 0.5:
            time.sleep(0.03)
        project.run(*edits.random.choice([(), ("-k",), ()]), code=None)
        clean = tmp_path / f"clean{number}"
        knowing_what_was_written(clean / "cache", project.cache)
        now, fresh = plan_of(project, project.cache), plan_of(project, clean / "cache")
        assert described(now) == described(fresh), (seed, number)
        project.run("-k", code=None)
        project.run("-k", models=clean / "models", cache=clean / "cache", code=None)
        for output in fresh.graph.outputs:
            for name in output.names:
                built, wanted = (folder / "manifests" / name for folder in (project.models, clean / "models"))
                # A name that the project does not declare any more is still a base, where it was built.
                assert not wanted.exists() or built.read_bytes() == wanted.read_bytes(), (seed, number, name)
        says_the_same_again(project)
        project.check()
        shutil.rmtree(clean)


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_edited_the_plan_is_that_of_an_empty_cache(project: InProcess, tmp_path: Path, seed: int) -> None:
    sequence(project, tmp_path, Edits(project, seed), seed, 8)


def test_whatever_is_edited_in_a_project_with_parts(project: InProcess, tmp_path: Path) -> None:
    sequence(project, tmp_path, EditsOfParts(project, 3), 3, 6)


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(int(os.environ.get("MODELBUILD_SEEDS", "10"))))
@pytest.mark.parametrize("kind", [Edits, EditsOfParts])
def test_long_sequences_of_edits(project: InProcess, tmp_path: Path, seed: int, kind: type[Edits]) -> None:
    sequence(project, tmp_path, kind(project, 100 + seed), 100 + seed, 40)
