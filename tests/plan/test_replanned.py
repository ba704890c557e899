"""Models that are planned again after an edit, as a whole plan would plan them; and edits that reach further."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from modelbuild.observed import Observed
from modelbuild.plan import parts
from modelbuild.plan.parts import Part
from modelbuild.plan.plan import Plan, plan
from modelbuild.plan.planner import Elsewhere
from modelbuild.plan.replanned import Otherwise, replanned
from modelbuild.project import loader
from modelbuild.project.overrides import Overrides
from tests.plan.test_plan import CHECKPOINT
from tests.projects import Kept, write

TOML = """
[project]
modelfiles = ["m/*/Modelfile"]
[model."q-*".matrix]
quantize = ["q8_0", "f16"]
[model."q-*".default]
quantize = "f16"
[model.on]
from = "q-b"
"""
FILES = {
    "ModelBuild.toml": TOML,
    **CHECKPOINT,
    "m/a/Modelfile": "FROM ../../weights\nSYSTEM a\nPARAMETER seed 1\n",
    "m/q-b/Modelfile": "FROM ../../weights\nSYSTEM b\n",
    "m/plain/Modelfile": "FROM ../../weights\n",
}


def whole(root: Path) -> Plan:
    observed = Observed()
    project = loader.load(str(root / "ModelBuild.toml"), observed=observed, keep=Kept())
    return plan(project, observed, [str(root / "models")])


def again(root: Path, before: Plan, *edited: str) -> dict[str, Part]:
    file, observed, known = str(root / "ModelBuild.toml"), Observed(), before.divided
    found = {model: path for part in known.parts.values() for model, path in part.found.items()}

    def owners(digests: Iterable[str]) -> Mapping[str, list[str]]:
        own = [(digest, model) for model, part in known.parts.items() for digest in part.steps]
        return {digest: [model for each, model in own if each == digest] for digest in digests}

    loaded = loader.load_models(
        file, loader.Wanted([*known.parts], found), observed=observed, keep=Kept(), given=Overrides()
    )
    assert loaded is not None
    return replanned(loaded, edited, known, owners, str(root), observed, Elsewhere([str(root / "models")]))


@pytest.mark.parametrize(
    ("edited", "text"),
    [
        (["a"], "FROM ../../weights\nSYSTEM new\nPARAMETER seed 1\n"),
        (["a"], "FROM ../../weights\nLICENSE l\nMESSAGE user hi\nTEMPLATE {{ .Prompt }}\n"),
        (["q-b", "on"], "FROM ../../weights\nSYSTEM new\nPARAMETER seed 2\n"),
        (["q-b", "on"], "FROM ../../weights\nSYSTEM b\nLICENSE l\n"),
    ],
)
def test_an_edited_model_is_planned_as_in_a_whole_plan(tmp_path: Path, edited: list[str], text: str) -> None:
    write(tmp_path, FILES)
    before = whole(tmp_path)
    write(tmp_path, {f"m/{edited[0]}/Modelfile": text})
    new = again(tmp_path, before, *edited)
    found = parts.graph(before.divided._replace(parts={**before.divided.parts, **new}))
    wanted = whole(tmp_path)
    assert (found.steps, found.outputs) == (wanted.graph.steps, wanted.graph.outputs)
    assert found.steps != before.graph.steps
    for model in edited:
        now = wanted.divided.parts[model]
        assert new[model].steps.keys() == now.steps.keys()
        assert new[model]._replace(steps={}, looks=[]) == now._replace(steps={}, looks=[])
    reads = {path for model in edited for verb, path, _ in new[model].looks if verb == "read"}
    assert str(tmp_path / f"m/{edited[0]}/Modelfile") in reads and str(tmp_path / "m/plain/Modelfile") not in reads


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a", "FROM plain\nSYSTEM a\n"),
        ("a", "FROM ../../weights\n"),
        ("plain", "FROM ../../weights\nSYSTEM now of its own\nADAPTER ./none\n"),
        ("a", "FROM ../../weights\nSYSTEM a\nPARAMETER mirostat 1\n"),
    ],
    ids=["another base", "a manifest that another has too", "what is not there", "a warning"],
)
def test_an_edit_that_reaches_further_is_none_of_one_model(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, FILES)
    before = whole(tmp_path)
    write(tmp_path, {f"m/{name}/Modelfile": text})
    with pytest.raises(Otherwise):
        again(tmp_path, before, name)
