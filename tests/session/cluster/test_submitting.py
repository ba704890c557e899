"""Builds whose actions run elsewhere: the same bytes, whatever the workers lack, and a clear error where nothing helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbuild.engine.executors import dask
from modelbuild.engine.executors.dask import Call, SchedulerLost
from modelbuild.engine.graph import Source, Step
from modelbuild.errors import Error
from modelbuild.session.cluster import groups, serving
from modelbuild.session.cluster.submitting import travels
from modelbuild.session.cluster.task import Task
from tests.e2e.in_process import InProcess
from tests.e2e.project import flip, old, tensor_offset
from tests.session.cluster.fake import FakeCluster

TOML = """\
[model.chat]
from = "./weights"
system = "Hello."
[model.chat.matrix]
quantize = ["q8_0", "q4_0"]
"""
URL = "dask://fake:8786"
MODELS = ["chat:q4_0/model", "chat:q8_0/model"]


class Here(InProcess):
    """A clone of the project."""

    def __init__(self, folder: Path, remote: str = "") -> None:
        super().__init__(folder)
        self.write("ModelBuild.toml", TOML + (f'[cache]\nremote = "{remote}"\n' if remote else ""))
        for path in self.checkpoint().iterdir():
            old(path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The models that a build on one machine makes."""
    project = Here(tmp_path_factory.mktemp("here"))
    project.build()
    return project.tree()


@pytest.fixture
def remote(tmp_path: Path) -> str:
    (tmp_path / "share").mkdir()
    return f"file://{tmp_path}/share"


@pytest.fixture
def cluster(tmp_path: Path, remote: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    found = FakeCluster(tmp_path, remote)
    monkeypatch.setattr(dask, "connect", lambda url, function: found)
    yield found
    found.end()


@pytest.fixture
def project(tmp_path: Path, remote: str) -> Here:
    return Here(tmp_path / "project", remote)


def test_workers_make_the_bytes_of_a_build_here(
    project: Here, cluster: FakeCluster, expected: dict[str, bytes]
) -> None:
    states = project.build("--executor", URL)
    assert [states[name] for name in MODELS] == ["ran", "ran"]
    assert project.tree() == expected
    assert len(cluster.calls) == 2 and len({call.key for call in cluster.calls}) == 2
    assert all(call.needs["disk"] > 0 and call.needs["memory"] > 0 and call.priority > 0 for call in cluster.calls)
    assert project.summary["tensors_computed"] > 0
    (told,) = [event for event in project.events if event["event"] == "cluster"]
    assert told["workers"] == 2
    # What was made is known: nobody is asked again.
    assert project.build("--executor", URL) == {}
    assert len(cluster.calls) == 2


def test_one_that_asks_for_what_another_had_made_runs_nothing(
    project: Here, cluster: FakeCluster, expected: dict[str, bytes], tmp_path: Path, remote: str
) -> None:
    project.build("--executor", URL)
    other = Here(tmp_path / "other", remote)
    other.build("--executor", URL)
    assert other.tree() == expected and other.summary["tensors_computed"] == 0
    # A worker that is asked all the same finds it in the shared cache, and computes nothing.
    for shop in cluster.shops:
        answer = serving.Answer.decode(shop.run(cluster.calls[0].text))
        assert answer.made is not None and answer.made.computed == 0 and answer.made.result.size > 0


def test_weights_that_a_worker_cannot_read_come_by_the_shared_cache(
    project: Here, cluster: FakeCluster, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_is_at", lambda weights: False)
    project.build("--executor", URL)
    assert project.tree() == expected
    # Each model was asked for twice at most: the first time the weights were missing.
    assert 2 < len(cluster.calls) <= 4


def test_a_large_layer_is_made_in_parts_and_joined(
    project: Here, cluster: FakeCluster, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "LEAST", 1 << 16)
    project.build("-j", "1", "--set", 'chat.matrix={quantize=["q8_0"]}', "--executor", URL)
    # Two parts by two workers, and the layer, whose tensors are those of the parts.
    assert len(cluster.calls) == 3 and len({call.key for call in cluster.calls}) == 3
    assert project.blob("chat:q8_0", "model") in expected.values()
    whole, *parts = (Task.decode(call.text) for call in reversed(cluster.calls))
    assert {each.key for each in whole.parts} == {each.key for each in parts}
    answers = [serving.Answer.decode(shop.run(call.text)) for shop in cluster.shops for call in cluster.calls]
    assert all(each.made is not None and each.made.computed == 0 for each in answers)
    assert project.summary["tensors_computed"] == 21


@pytest.mark.parametrize("readable", [True, False])
def test_weights_that_change_meanwhile_stop_the_build(
    project: Here, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    monkeypatch.setattr(serving, "_is_at", lambda weights: readable)
    weights = project.folder / "weights" / "model.safetensors"

    def spoil(call: Call) -> None:
        flip(weights, tensor_offset(weights, "model.norm.weight"))
        cluster.before = lambda call: None

    cluster.before = spoil
    project.build("--executor", URL, code=1)
    assert "source changed during the build" in str(project.events)


def test_a_lost_scheduler_is_one_error_and_the_finished_work_is_kept(
    project: Here, cluster: FakeCluster, expected: dict[str, bytes]
) -> None:
    def lose(call: Call) -> None:
        if len(cluster.calls) == 2:
            raise SchedulerLost(Error("the scheduler of the cluster at tcp://fake:8786 is gone"))

    cluster.before = lose
    project.run("--executor", URL, code=1)
    assert project.errors.count("is gone") == 1 and "Traceback" not in project.errors
    states = project.build()
    assert sum(name in states for name in MODELS) == 1, "the other one is in the shared cache"
    assert project.tree() == expected


def test_workers_and_builds_must_share_one_cache(project: Here, cluster: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    strangers = FakeCluster(tmp_path / "strangers", f"file://{tmp_path}/elsewhere", 1)
    cluster.shops, cluster._next = strangers.shops, strangers._next
    project.run("--executor", URL, code=1)
    assert "seems to have another shared cache" in project.errors
    assert str(tmp_path / "elsewhere") in project.errors


def test_what_is_forced_is_made_here(project: Here, cluster: FakeCluster) -> None:
    project.build("--force", "--executor", URL)
    assert not cluster.calls


def test_a_cluster_needs_a_shared_cache(tmp_path: Path) -> None:
    alone = Here(tmp_path / "alone")
    alone.run("--executor", URL, code=1)
    assert "--executor needs a shared cache" in alone.errors


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step("a", "layer", 1, "{}", (("recipe", "b"),), "cores"), True),
        (Step("a", "pack", 1, "{}", (("checkpoint", "b"),), "cores"), True),
        (Step("a", "quantize", 1, "{}", (("recipe", "b"),), "thread"), False),
        (Step("a", "tool", 1, "{}", (("model", "b"),), "cores"), False),
        (Step("a", "layer", 1, "{}", (("recipe", "b"), ("weights", "c")), "cores"), False),
        (Step("a", "layer", 1, "{}", (("file", Source("/f", "gguf")),), "cores"), False),
    ],
)
def test_what_travels(step: Step, expected: bool) -> None:
    assert travels(step) is expected
