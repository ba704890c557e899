"""`--profile FILE`: a trace of the build that trace viewers open, also of one that fails."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.project import Project
from tests.e2e.test_commands import make, run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make(tmp_path_factory.mktemp("profile"))
    with pytest.MonkeyPatch.context() as patch:
        # So little that steps wait for it.
        patch.setattr("modelbuild.cli.kinds.LEAST", 0)
        assert run(project, "--profile", "build.json", "-j", "8", "--memory", "300k")[0] == 0
    return project


def events(project: Project, name: str = "build.json") -> list[dict[str, Any]]:
    data = json.loads((project.folder / name).read_text())
    assert set(data) == {"traceEvents", "displayTimeUnit"}
    found: list[dict[str, Any]] = data["traceEvents"]
    return found


def test_every_event_has_the_shape_that_viewers_read(project: Project) -> None:
    for event in events(project):
        assert isinstance(event["name"], str) and isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert isinstance(event["args"], dict)
        if event["ph"] == "M":
            assert event["name"] in ("thread_name", "process_name") and isinstance(event["args"]["name"], str)
        else:
            assert event["ph"] == "X" and event["cat"]
            assert event["ts"] >= 0 and event["dur"] >= 0


def test_spans_of_a_thread_are_nested(project: Project) -> None:
    by_thread: dict[int, list[dict[str, Any]]] = {}
    for event in events(project):
        if event["ph"] == "X":
            by_thread.setdefault(event["tid"], []).append(event)
    assert len(by_thread) > 1
    for found in by_thread.values():
        open_: list[float] = []
        for event in sorted(found, key=lambda each: (each["ts"], -each["dur"])):
            while open_ and open_[-1] <= event["ts"] + 0.001:
                open_.pop()
            end = event["ts"] + event["dur"]
            assert not open_ or end <= open_[-1] + 0.001, "a span ends within the one around it"
            open_.append(end)


def test_steps_tensors_waits_and_bytes_are_there(project: Project) -> None:
    def of(category: str) -> list[dict[str, Any]]:
        return [each for each in events(project) if each.get("cat") == category]

    assert {each["name"] for each in of("step")} >= {"base/convert", "base:q8_0/model", "chat/manifest"}
    assert len(of("step")) == 16
    computed: Iterable[dict[str, Any]] = [each for each in of("compute") if each["name"] == "output.weight"]
    assert sum(each["args"]["bytes"] for each in computed if each["args"]["type"] == "q8_0") == 300 * 256 // 32 * 34
    assert sum(each["args"]["bytes"] for each in of("io") if each["name"] == "write") >= 943_000 + 547_000
    assert any(each["name"] == "hash model.safetensors" and each["args"]["bytes"] > 0 for each in of("io"))
    assert {each["name"] for each in of("wait")} >= {"wait for memory", "wait for other builds"}
    assert {each["name"] for each in of("publish")} == {"publish base:q8_0", "publish base:q4_K_M", "publish chat"}
    assert any(each["name"] == "plan" for each in of("plan"))


def test_a_build_that_fails_or_has_nothing_to_do_leaves_a_trace(project: Project, tmp_path: Path) -> None:
    code, _, err = run(project, "--profile", "again.json")
    assert code == 0 and "wrote again.json: open it at" in err
    assert all(each["cat"] != "step" for each in events(project, "again.json") if each["ph"] == "X")
    code, _, err = run(project, "--profile", "none.json", "nope")
    assert code == 2 and "wrote" not in err and not (project.folder / "none.json").exists()
    code, _, err = run(project, "--profile", "no/where.json")
    assert code == 2 and "no such folder" in err
    code, _, err = run(project, "--profile", "x.json", "--watch")
    assert code == 2 and "cannot be used together" in err
