"""Which models can be compared with their weights, and that figures are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from modelbuild.engine.build import BuildOptions
from modelbuild.errors import Error, Errors
from modelbuild.session import quality
from modelbuild.session.building import build
from modelbuild.session.session import Session
from modelbuild.tensors.quality import MeasuredModel
from tests.e2e.project import Project, flip
from tests.session.conftest import Open


@pytest.fixture
def built(start: Open) -> Session:
    session = start()
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    return session


def measured(session: Session) -> tuple[list[MeasuredModel], list[int]]:
    """The figures of all models, and of how many tensors they were not known before."""
    compared: list[int] = []

    @contextlib.contextmanager
    def following(tensors: int) -> Iterator[Callable[[int, int], None]]:
        compared.append(tensors)
        yield lambda done, total: None

    models, _ = quality.built(session, session.graph.outputs)
    return quality.measure(session, models, 2, following), compared


def test_variants_of_one_model_are_compared_once_and_figures_are_kept(start: Open, built: Session) -> None:
    models, rest = quality.built(built, built.graph.outputs)
    assert [[output.label for output in each.outputs] for each in models] == [["base", "chat"]] and rest == []
    (model,), compared = measured(built)
    assert model.names == ("base:latest", "chat:latest") and model.ftype == "q8_0"
    assert 30 < (model.figures.snr_db or 0) < 60
    assert compared == [len(model.tensors)]
    (again,), compared = measured(start())
    assert again.data() == model.data() and compared == []


def test_what_is_not_built_or_has_changed_is_told(start: Open, project: Project) -> None:
    session = start()
    with pytest.raises(Errors) as caught:
        quality.built(session, session.graph.outputs)
    assert [error.what for error in caught.value.errors] == ["'base' is not built", "'chat' is not built"]
    assert not build(session, session.select(()), BuildOptions(), lambda event: None)
    project.write("ModelBuild.toml", '[model.base]\nfrom = "./weights"\nquantize = "q4_0"\n')
    session = start()
    with pytest.raises(Errors) as caught:
        quality.built(session, session.graph.outputs)
    assert [error.what for error in caught.value.errors] == ["'base' has changed since it was built"]


def test_a_damaged_model_is_told_and_forgotten(project: Project, built: Session) -> None:
    blob = max((project.models / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.chmod(0o644)
    flip(blob, blob.stat().st_size - 100)
    with pytest.raises(Error, match="the model is damaged"):
        measured(built)
    assert built.store.path(f"sha256:{blob.name[7:]}") is None
