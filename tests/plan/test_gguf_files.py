"""GGUF files that are named: what they hold, and what is wrong with one in the place where it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.plan.away import Away
from modelbuild.plan.gguf_files import GgufFiles
from modelbuild.project.locate import Place
from modelbuild.project.variant import File, From
from tests.plan.test_plan import gguf_file
from tests.projects import write

PLACE = Place("ModelBuild.toml")


def files() -> GgufFiles:
    observed = Observed()
    return GgufFiles(observed, Away(observed, {}))


def lines(root: Path, *names: str) -> list[tuple[From, str]]:
    return [(From(name, True, str(root), PLACE), str(root / name)) for name in names]


def test_there_is_one_model_among_them(tmp_path: Path) -> None:
    write(tmp_path, {"a.gguf": gguf_file(), "b.gguf": gguf_file(), "mmproj.gguf": gguf_file("mmproj")})
    found = files().read(lines(tmp_path, "a.gguf", "mmproj.gguf"))
    assert [each.contents.role for each in found] == ["model", "projector"]
    with pytest.raises(Error, match="more than one model among the GGUF files"):
        files().read(lines(tmp_path, "a.gguf", "b.gguf"))
    with pytest.raises(Error, match="is not a model"):
        files().read(lines(tmp_path, "mmproj.gguf"))


def test_a_file_is_what_it_is_named_as(tmp_path: Path) -> None:
    write(tmp_path, {"a.gguf": gguf_file(), "mmproj.gguf": gguf_file("mmproj")})
    named = File(str(tmp_path / "a.gguf"), "a.gguf", str(tmp_path), PLACE)
    assert files().beside("draft", named, named.path).role == "model"
    with pytest.raises(Error, match=r"expected a projector, got a model: 'a\.gguf'"):
        files().beside("projector", named, named.path)
