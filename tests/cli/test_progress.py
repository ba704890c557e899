"""What a build tells while it runs: to a pipe, to a terminal, to a program."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.errors import Error
from tests.cli.streams import Streams

pytestmark = pytest.mark.usefixtures("plain")

NAME = "registry.ollama.ai/library/chat/q8_0"


SUMMARY = {
    "event": "summary",
    "ran": 2,
    "hit": 1,
    "failed": 0,
    "skipped": 0,
    "tensors_computed": 40,
    "tensors_reused": 3,
    "bytes_written": 37_100_000,
    "seconds": 0.5,
}


def step(state: str, name: str = "chat/model", **more: Any) -> dict[str, Any]:
    event = {"event": "step", "step": name, "kind": "layer", "state": state, "seconds": 0.31, "digest": None}
    return {**event, "targets": ["chat:q8_0"], **more}


def start(name: str = "chat/model", **more: Any) -> dict[str, Any]:
    return {"event": "start", "step": name, "kind": "layer", "targets": ["chat:q8_0"], **more}


def variant(changed: bool, name: str = NAME, label: str = "chat:q8_0") -> dict[str, Any]:
    return {"event": "variant", "name": name, "label": label, "manifest": "sha256:aa", "changed": changed}


BUILD = [
    step("hit", "chat/convert"),
    start("chat/quantize"),
    step("ran", "chat/quantize"),
    start(),
    {"event": "progress", "step": "chat/model", "done": 10, "total": 100},
    step("ran"),
    variant(True),
    variant(True, NAME.replace("q8_0", "latest")),
    SUMMARY,
]


def test_a_pipe_gets_a_line_for_each_model_that_was_built_and_the_summary() -> None:
    streams = Streams()
    streams.names = {"chat:q8_0": [NAME, NAME.replace("q8_0", "latest")]}
    streams.build(BUILD)
    assert streams.out == ""
    assert streams.err.splitlines() == [
        "built      chat:q8_0 (latest)  4.1 GB",
        "1 model built (1.25 s; 2 steps run, 1 cached, 40 of 43 tensors computed, 37.1 MB written)",
    ]


def test_verbose_adds_cached_steps_and_unchanged_models() -> None:
    streams = Streams(verbose=True)
    streams.build([step("hit"), variant(False), {**SUMMARY, "ran": 0}])
    assert streams.err.splitlines()[:2] == ["cached     chat/model", "unchanged  chat:q8_0  4.1 GB"]


def test_a_build_with_nothing_to_do_is_one_line() -> None:
    streams = Streams()
    idle = {**SUMMARY, "ran": 0, "tensors_computed": 0, "tensors_reused": 0, "bytes_written": 0}
    streams.build([step("hit"), variant(False), variant(False, label="other"), idle])
    assert streams.err == "nothing to do: 2 models unchanged (1.25 s)\n"


def test_a_failure_shows_its_error_before_the_summary() -> None:
    streams = Streams()
    error = Error("step 'chat/model' failed: no space left on the disk", facts=[("free", "0 bytes")])
    streams.build([start(), step("failed", error="…"), {**SUMMARY, "ran": 0, "failed": 1, "skipped": 4}], [error])
    assert streams.err.splitlines() == [
        "failed     chat/model  0.31 s",
        "error: step 'chat/model' failed: no space left on the disk",
        "  free  0 bytes",
        "0 built, 1 failed: chat:q8_0 "
        "(1.25 s; 0 steps run, 1 cached, 1 failed, 4 skipped, 40 of 43 tensors computed, 37.1 MB written)",
    ]


def test_the_summary_counts_models_and_names_those_that_failed() -> None:
    streams = Streams()
    broken = {"event": "broken", "label": "b", "model": "b", "names": [], "error": "…"}
    group = {**broken, "label": "[group.g]", "model": None}
    streams.build([broken, group, variant(True), variant(False, label="other"), SUMMARY], [Error("no")])
    last = streams.err.splitlines()[-1]
    assert last.startswith("1 built, 1 unchanged, 1 failed: b (1.25 s; 2 steps run, 1 cached, ")


def test_quiet_prints_only_errors() -> None:
    streams = Streams(quiet=True)
    streams.report.warning(Error("beware"))
    streams.report.note("by the way")
    streams.build(BUILD, [Error("bad")])
    assert streams.err == "error: bad\n"


def test_json_is_one_versioned_object_a_line_and_the_summary_is_the_last() -> None:
    streams = Streams(as_json=True)
    streams.build(BUILD, [Error("bad", path="x.toml", line=3)])
    objects = [json.loads(line) for line in streams.out.splitlines()]
    assert {entry["v"] for entry in objects} == {1}
    assert [entry["event"] for entry in objects] == [
        *["step", "start", "step", "start", "step", "variant", "variant", "error", "summary"]
    ]
    assert objects[1:3] == [{"v": 1, **start("chat/quantize")}, {"v": 1, **step("ran", "chat/quantize")}]
    assert objects[5]["name"] == "chat:q8_0"
    assert objects[7] == {
        "v": 1,
        "event": "error",
        "message": "bad",
        "place": "x.toml:3",
        "text": "error: x.toml:3: bad",
    }
    assert objects[8] == {"v": 1, **SUMMARY}
    assert streams.err == "error: x.toml:3: bad\n"


def test_explained_steps_say_what_changed_with_texts_cut() -> None:
    streams = Streams()
    causes = [
        {
            "what": "system",
            "verb": "changed",
            "place": "a:1",
            "before": "You are\na friend. " + "x" * 80,
            "after": "short",
        },
        {"what": "chat/convert", "verb": "changed", "step": "chat/convert"},
    ]
    streams.build([start(because=[], causes=causes)])
    assert streams.err.splitlines() == [
        "chat/model runs because",
        f"  system changed: a:1 (You are a friend. {'x' * 41}… -> short)",
        "  the converted weights changed",
    ]


def test_a_build_that_changes_no_model_says_so() -> None:
    streams = Streams()
    streams.build(
        [step("ran"), variant(False), {**SUMMARY, "ran": 1, "hit": 0, "tensors_computed": 0, "tensors_reused": 0}]
    )
    assert streams.err.splitlines()[-1] == "1 model rebuilt, unchanged (1.25 s; 1 step run, 37.1 MB written)"


def test_a_model_that_cannot_be_put_counts_as_failed() -> None:
    streams = Streams()
    other = {"event": "unpublished", "label": "b", "names": [NAME], "error": "error: no space left"}
    streams.build([step("ran"), variant(True), other, SUMMARY])
    assert streams.err.splitlines()[-1].startswith("1 built, 1 failed: b (")
