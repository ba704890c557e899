"""Spans of time by thread, in the shape that trace viewers read."""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext

import pytest

from modelbuild import trace


def test_nothing_is_noted_unless_somebody_records() -> None:
    assert isinstance(trace.span("x", "y", bytes=1), nullcontext)


def test_spans_have_their_thread_their_time_and_their_arguments() -> None:
    def work() -> None:
        with trace.span("inner", "io", bytes=3):
            pass

    with trace.recording() as found, trace.span("outer", "step", kind="layer"):
        thread = threading.Thread(target=work, name="worker")
        thread.start()
        thread.join()
    data = json.loads(json.dumps(found.data()))
    meta = [each for each in data["traceEvents"] if each["ph"] == "M"]
    outer, inner = [each for each in data["traceEvents"] if each["ph"] == "X"]
    assert (outer["name"], outer["cat"], outer["args"]) == ("outer", "step", {"kind": "layer"})
    assert (inner["name"], inner["args"]) == ("inner", {"bytes": 3})
    assert outer["ts"] <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    assert outer["tid"] != inner["tid"] and outer["pid"] == inner["pid"]
    names = {each["tid"]: each["args"]["name"] for each in meta if each["name"] == "thread_name"}
    assert names[inner["tid"]] == "worker" and outer["tid"] in names
    assert {each["args"]["name"] for each in meta if each["name"] == "process_name"} == {"modelbuild"}


def test_a_span_that_ends_with_an_error_is_noted_too() -> None:
    with trace.recording() as found, pytest.raises(ValueError, match="bad"), trace.span("x", "y"):
        raise ValueError("bad")
    assert [each["name"] for each in found.data()["traceEvents"] if each["ph"] == "X"] == ["x"]
