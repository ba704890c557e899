"""The causes of steps in the words of the project; tests/e2e/test_explain.py has the whole table of edits."""

from __future__ import annotations

import json
from pathlib import Path

from modelbuild.engine.build import BuildOptions
from modelbuild.engine.standing import FORCED, changed
from modelbuild.session.building import build
from modelbuild.session.session import Session
from modelbuild.session.why import NEVER, Cause, Why
from tests.e2e.in_process import InProcess
from tests.e2e.project import Project
from tests.session.conftest import Open


def one(session: Session, step: str, field: str, before: str = "1", after: str = "2") -> Cause:
    reason = {"field": field, "before": before, "after": after}
    why = Why(session, session.graph, {step: [reason]})
    (cause,) = why.causes(session.graph.steps[step])
    return cause


def built(start: Open) -> None:
    session = start()
    assert build(session, session.everything(), BuildOptions(), lambda event: None) == []


def test_fields_of_an_action_are_keys_with_their_places(start: Open) -> None:
    built(start)
    session = start()
    assert one(session, "chat/system", "parameter 'text'") == Cause(
        "system", "changed", "ModelBuild.toml:7:1", "1", "2"
    )
    assert one(session, "base/quantize", "parameter 'ftype'").place == "ModelBuild.toml:3:1"
    assert one(session, "base/convert", "parameter 'outtype'") == Cause("outtype", "changed", "", "1", "2")
    removed = one(session, "base/convert", "parameter 'pre'", "x", "(none)")
    assert (removed.what, removed.verb, removed.place) == ("pre", "was removed", "ModelBuild.toml")
    assert one(session, "base/model", "parameter 'operations.merge'").verb == "computes merge differently"
    assert one(session, "base/model", "version").verb == "makes base/model differently"
    assert one(session, "base/model", "artifact", "built", FORCED) == Cause(FORCED, "")
    assert one(session, "base/convert", "weights").verb == "have not been read yet"
    assert one(session, "chat/manifest", "input '1' (chat/system)").step == "chat/system"


def test_what_was_never_built_is_said_so(start: Open) -> None:
    session = start()
    (output,) = session.select(["chat"]).outputs
    graph = session.graph.select([output])
    reasons = {"chat/manifest": [{"field": "step", "before": "never built", "after": "new"}]}
    assert Why(session, graph, reasons).roots(output) == [NEVER]


def test_causes_are_followed_down_to_what_somebody_wrote(start: Open, project: Project) -> None:
    built(start)
    path = project.folder / "ModelBuild.toml"
    path.write_text(path.read_text().replace("Hello.", "Bye.").replace("q8_0", "q4_0"))
    session = start()
    standing = session.standing(session.graph)
    why = Why(session, session.graph, changed(standing, session.records))
    assert [cause.what for cause in why.causes(session.graph.steps["base/quantize"])] == ["quantize"]
    assert [(cause.what, cause.after) for cause in why.roots(session.graph.outputs[1])] == [("system", "Bye.")]


PLAIN = '[model.chat]\nfrom = "./weights"\nsystem = "{}"\n'


def test_a_revert_has_causes_though_nothing_runs(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.checkpoint()
    for text in ("one", "two", "one"):
        project.write("ModelBuild.toml", PLAIN.format(text))
        events = [json.loads(line) for line in project.run("--json", "--explain").splitlines()]
    assert not [event for event in events if event["event"] == "start"]
    (variant,) = [event for event in events if event["event"] == "variant"]
    (cause,) = variant["causes"]
    assert (cause["what"], cause["verb"], cause["before"], cause["after"]) == ("system", "changed", "two", "one")


def test_what_a_step_explains_is_not_explained_again(tmp_path: Path) -> None:
    project = InProcess(tmp_path)
    project.checkpoint()
    project.write("ModelBuild.toml", PLAIN.format("one"))
    events = [json.loads(line) for line in project.run("--json", "--explain").splitlines()]
    assert all(event["causes"] for event in events if event["event"] == "start")
    assert not [event for event in events if event["event"] == "variant" and "causes" in event]
