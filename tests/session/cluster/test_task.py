"""Tasks and answers as they travel: what one side spells the other reads, and nothing else is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelbuild.engine.action import Action, ActionResult, Made
from modelbuild.errors import Error
from modelbuild.session.cluster.task import Answer, Part, Task, Weights

BLOB = ActionResult("sha256:" + "a" * 64, 12)
TASK = Task(
    Action("layer", 1, "{}", (("recipe", BLOB.artifact),)),
    "b" * 64,
    (BLOB,),
    (Weights("xxh3:" + "c" * 32, "safetensors", "/weights/model.safetensors", BLOB, BLOB),),
    (Part(Action("layer", 1, "{}", (("recipe", BLOB.artifact),)), "d" * 64),),
)


def test_a_task_is_read_as_it_was_spelled() -> None:
    read = Task.decode(TASK.encode())
    assert read.action.digest == TASK.action.digest and read[1:-1] == TASK[1:-1]
    assert [(part.action.digest, part.key) for part in read.parts] == [(TASK.action.digest, "d" * 64)]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(made=Made(BLOB, (), 1, 2, 3, 0.5), remote="/share", host="one"),
        Answer(missing=(BLOB.artifact,)),
        Answer(lost="it does not answer"),
    ],
)
def test_an_answer_is_read_as_it_was_spelled(answer: Answer) -> None:
    assert Answer.decode(answer.encode()) == answer


def test_an_error_travels_with_all_that_it_says() -> None:
    error = Error("no good", path="/weights", facts=[("size", "3")], hint="do better")
    read = Answer.decode(Answer(error=error).encode()).error
    assert read is not None and str(read) == str(error)


def changed(text: str, **changes: Any) -> str:
    return json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        changed(TASK.encode(), key="../../etc/passwd"),
        changed(TASK.encode(), artifacts=[["sha256:" + "a" * 64, -1]]),
        changed(TASK.encode(), artifacts=[["/etc/passwd", 1]]),
        changed(TASK.encode(), weights=[["xxh3:" + "c" * 32, "os", "/f", BLOB, BLOB]]),
        changed(TASK.encode(), parts=[[TASK.action.encode(), "../x"]]),
        changed(TASK.encode(), action=json.dumps(["layer"])),
    ],
)
def test_what_is_not_a_task_is_refused(text: str) -> None:
    with pytest.raises(Error, match="not a task"):
        Task.decode(text)


def test_another_version_is_said() -> None:
    with pytest.raises(Error, match="another version") as caught:
        Task.decode(changed(TASK.encode(), modelbuild="0.1"))
    assert ("build", "0.1") in caught.value.facts


@pytest.mark.parametrize("text", [None, "{}", changed(Answer().encode(), made=["sha256:x", 1, 0, 0, 0, 0]), "[" * 9])
def test_what_is_not_an_answer_is_refused(text: object) -> None:
    with pytest.raises(Error, match="not an answer"):
        Answer.decode(text)
