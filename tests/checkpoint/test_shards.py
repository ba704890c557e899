"""The files of a checkpoint: which count, whether all are there, and the tensors in them. What lies: tests/attacks/test_index_lies.py."""

from __future__ import annotations

import json

import pytest

from modelbuild.checkpoint import shards
from modelbuild.errors import Error
from modelbuild.tensors.tensor import Tensor, TensorTable


def index(**files: str) -> bytes:
    return json.dumps({"weight_map": files}).encode()


def table(*names: str) -> TensorTable:
    return TensorTable({}, {name: Tensor(name, "f32", (1,), 8, 4) for name in names})


def test_the_files_that_decide_a_conversion_may_be_absent() -> None:
    names = ["modules.json", "additional_chat_templates/b.jinja", "additional_chat_templates/a.jinja", "notes.txt"]
    found = shards.small(names)
    assert {"config.json", "tokenizer.json", "README.md"} < set(found)
    assert found[-4:] == ["modules.json", "1_Pooling/config.json", *sorted(names[1:3])]
    assert not {"modules.json", "notes.txt"} & set(shards.small([]))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("2_Pooling", "2_Pooling/config.json"),
        ("modules/pool", "modules/pool/config.json"),
        ("", shards.POOLING),
        ("../2_Pooling", shards.POOLING),
        ("/etc", shards.POOLING),
        ("a\0b", shards.POOLING),
        ("\ud800", shards.POOLING),
        ("x" * 300, shards.POOLING),
    ],
)
def test_the_folder_of_the_pooling_is_the_one_that_is_named(path: str, expected: str) -> None:
    modules = json.dumps([{"type": "Transformer", "path": ""}, {"type": "models.Pooling", "path": path}]).encode()
    read = {"modules.json": modules}.get
    assert shards.pooling(read) == expected
    assert expected in shards.small(["modules.json"], read) and expected not in shards.small([], read)


@pytest.mark.parametrize("modules", [b"", b"{", b"3", b"[3]", b'[{"type": "Pooling"}]', b"[" * 100_000, b"\xff", None])
def test_modules_that_cannot_be_read_name_the_usual_folder(modules: bytes | None) -> None:
    assert shards.pooling({"modules.json": modules}.get) == shards.POOLING


def test_the_index_says_which_files_count() -> None:
    assert shards.weights(["a.safetensors", "model.safetensors"], index(x="a.safetensors")) == ["a.safetensors"]
    with pytest.raises(Error, match="the checkpoint is incomplete: 1 of 2 weights files is missing") as caught:
        shards.weights(["a.safetensors"], index(x="a.safetensors", y="b.safetensors"))
    assert caught.value.facts == (("missing", "b.safetensors"),)


def test_without_an_index_all_files_of_a_model_count() -> None:
    parts = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    assert shards.weights(["adapter.safetensors", *reversed(parts)], None) == parts


def test_whether_all_files_are_there_is_not_told_by_their_names() -> None:
    parts = [f"model-0000{number}-of-00004.safetensors" for number in (1, 2)]
    assert shards.weights(parts, None) == parts
    # An index of another save: what it names decides nothing, as long as its tensors are there.
    assert shards.weights(parts, index(x="model-00001-of-00009.safetensors", y=parts[0])) == parts
    assert shards.weights([*parts, "z.safetensors"], index(x="w.safetensors", y="z.safetensors")) == [
        *parts,
        "z.safetensors",
    ]
    assert list(shards.tensors([(parts[0], table("x")), (parts[1], table("y"))], index(x="gone", y="gone"))) == [
        "x",
        "y",
    ]
    with pytest.raises(Error, match="names 1 tensors that no weights file contains") as caught:
        shards.tensors([(parts[0], table("x"))], index(x=parts[0], y="gone.safetensors"))
    assert ("not there", "gone.safetensors") in caught.value.facts


def test_a_gap_in_the_numbers_of_files_is_known() -> None:
    def named(*numbers: int, of: int = 3) -> list[str]:
        return [f"model-{number:05}-of-{of:05}.safetensors" for number in numbers]

    assert shards.gap(["config.json", *named(1, 2, 3), "model.safetensors"]) is None
    assert shards.gap(named(2, 3)) == shards.Gap(1, 3, tuple(named(1)))
    assert shards.gap(named(0, of=1)) == shards.Gap(1, 1, tuple(named(1, of=1)))
    absurd = shards.gap(["model-00001-of-999999999.safetensors"])
    assert absurd is not None and (absurd.lacking, len(absurd.first)) == (999_999_998, 20)
    explained = shards.Gap(1, 3, tuple(named(1))).explains(Error("lacks x", facts=[("missing", "x")], hint="h"))
    assert explained.facts == (("missing", "x"), ("not there", "1 of 3 files: model-00001-of-00003.safetensors"))
    assert "are here" in shards.Gap(1, 3, tuple(named(1))).warning().what


def test_a_folder_of_an_adapter_is_no_model() -> None:
    with pytest.raises(Error, match="the folder contains an adapter, not a model"):
        shards.weights(["adapter_config.json", "adapter_model.safetensors"], None)


def test_tensors_come_file_by_file_and_by_name() -> None:
    found = shards.tensors([("b", table("a")), ("a", table("z", "c"))], None)
    assert list(found) == ["c", "z", "a"]


def test_no_tensor_is_in_two_files() -> None:
    with pytest.raises(Error, match="tensor 'x' is in two files") as caught:
        shards.tensors([("a", table("x")), ("b", table("x"))], None)
    assert (caught.value.path, caught.value.facts) == ("b", (("also in", "a"),))


def test_the_index_and_the_files_name_the_same_tensors() -> None:
    with pytest.raises(Error, match="names 1 tensors that no weights file contains"):
        shards.tensors([("a", table("x"))], index(x="a", y="a"))
    with pytest.raises(Error, match="does not name 1 tensors that the weights files contain"):
        shards.tensors([("a", table("x", "y"))], index(x="a"))


def test_all_files_of_a_checkpoint_have_a_bound_together() -> None:
    many = TensorTable({}, {str(n): Tensor(str(n), "f32", (0,), 8, 0) for n in range(shards.TENSORS_LIMIT // 2)})
    assert len(list(shards.bounded([("a", many), ("b", many)]))) == 2
    with pytest.raises(Error, match="the weights files up to this one contain"):
        list(shards.bounded([("a", many), ("b", many), ("c", many)]))
