"""What a step is given that makes a recipe before a build: heads, small files, and recipes made of such."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.engine.graph import Source, Step
from modelbuild.errors import Error
from modelbuild.plan import heads
from modelbuild.plan.heads import HeadInputs, Heads
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.leaf import leaf
from modelbuild.tensors.recipe import Recipe
from tests import checkpoints, recipes


def inputs(folder: Path, made: dict[str, Recipe] | None = None) -> HeadInputs:
    refs: list[tuple[str, Source | str]] = [
        ("config.json", Source(str(folder / "config.json"), "bytes")),
        ("README.md", Source(str(folder / "README.md"), "bytes")),
        ("model.safetensors", Source(str(folder / "model.safetensors"), "safetensors")),
        ("recipe", "a/convert"),
    ]
    return HeadInputs(Step("a/x", "convert", 1, "{}", tuple(refs)), Heads(), made or {})


def test_files_are_theirs_and_recipes_those_that_could_be_made(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path)
    made = Recipe({}, [])
    given = inputs(folder, {"a/convert": made})
    assert given.complete() and not inputs(folder).complete()
    assert given.roles() == ["config.json", "README.md", "model.safetensors", "recipe"]
    assert given.file("config.json") == (folder / "config.json").read_bytes()
    assert given.file("README.md") is given.file("recipe") is given.file("none") is None
    assert given.recipe("recipe") is made and given.artifact("recipe") == made.encode()


def test_a_tensor_has_a_stand_in_for_its_digest_that_no_other_has(tmp_path: Path) -> None:
    found = [inputs(checkpoints.write(tmp_path / name)).tables() for name in "ab"]
    assert [role for role, _ in found[0]] == ["model.safetensors"]
    digests = [tensor.digest for tables in found for _, table in tables for tensor in table.tensors.values()]
    assert len(set(digests)) == len(digests) == 2 * 21


def test_what_is_wrong_with_a_file_is_told_of_its_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoints.write(tmp_path)
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / "README.md").mkdir()
    monkeypatch.setattr(heads, "SMALL_LIMIT", 10)
    given = inputs(folder)
    for act in (given.tables, lambda: given.file("config.json"), lambda: given.file("README.md")):
        with pytest.raises(Error) as caught:
            act()
        assert caught.value.path is None and caught.value.input in given.roles()


def test_a_head_is_read_once_also_where_it_is_wrong(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path) / "model.safetensors"
    known, source = Heads(), Source(str(path), "safetensors")
    table = known.table(source)
    path.write_bytes(b"x")
    assert known.table(source) is table
    fresh = Heads()
    with pytest.raises(Error) as first:
        fresh.table(source)
    path.unlink()
    with pytest.raises(Error) as second:
        fresh.table(source)
    assert second.value is first.value and first.value.path == str(path)


def test_an_importance_matrix_may_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = tmp_path / "imatrix.dat"
    matrix.write_bytes(bytes(20))
    monkeypatch.setattr(heads, "SMALL_LIMIT", 10)
    refs = (("imatrix", Source(str(matrix), "bytes")),)
    assert HeadInputs(Step("a/x", "quantize", 1, "{}", refs), Heads(), {}).file("imatrix") == bytes(20)
    monkeypatch.setitem(heads.LIMITS, "imatrix", 19)
    with pytest.raises(Error, match="is 20 bytes long, expected at most 19"):
        HeadInputs(Step("a/x", "quantize", 1, "{}", refs), Heads(), {}).file("imatrix")


def test_values_of_a_small_tensor_are_those_of_its_file(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path)
    given = inputs(folder)
    ((_, table),) = given.tables()
    tensor = table.tensors["model.norm.weight"]
    data = (folder / "model.safetensors").read_bytes()[tensor.offset : tensor.offset + tensor.length]
    x = leaf(tensor.digest, tensor.dtype, tensor.shape, tensor.name)
    assert given.values(x) == data
    assert given.values(cast("f32", x)) == recipes.evaluate(cast("f32", x), {tensor.digest: data})
    with pytest.raises(KeyError):
        given.values(leaf("xxh3:0", "f32", (1,), tensor.name))
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[: tensor.offset + 1])
    with pytest.raises(Error, match="it was cut short while it was read"):
        given.values(x)


def test_what_follows_from_tables_is_made_once_for_the_same_ones(tmp_path: Path) -> None:
    known, made = Heads(), list[str]()

    def shared(folder: str, beside: str = "README.md", what: str = "names") -> None:
        refs = [(name, Source(str(tmp_path / folder / name), "bytes")) for name in ("config.json", beside)]
        weights = Source(str(tmp_path / folder / "model.safetensors"), "safetensors")
        step = Step("a/x", "convert", 1, "{}", (*refs, ("model.safetensors", weights)))
        HeadInputs(step, known, {}).shared(what, lambda: made.append(f"{what} {folder}"))

    for _ in range(2):
        shared("a")
        shared("a", "tokenizer.json")
        shared("b")
        shared("b", what="others")
    assert made == ["names a", "names b", "others b"]
