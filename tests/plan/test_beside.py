"""GGUF adapters that are layers as they are must fit the model beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.plan import preflight
from modelbuild.tensors.formats import gguf

from .test_plan import graph

SHAPES = {
    "token_embd.weight": (320, 64),
    "blk.0.attn_q.weight": (64, 64),
    "blk.0.ffn_up.weight": (96, 64),
    "blk.0.ffn_up_exps.weight": (4, 96, 64),
}
Q = {"blk.0.attn_q.weight.lora_a": (4, 64), "blk.0.attn_q.weight.lora_b": (64, 4)}


def file(kind: str, tensors: dict[str, tuple[int, ...]]) -> bytes:
    values = {"general.architecture": "mamba", "general.type": kind, "adapter.type": "lora"}
    encoded = {key: gguf.encode_value("str", value) for key, value in values.items()}
    encoded["mamba.block_count"] = gguf.encode_value("u32", 1)
    encoded["adapter.lora.alpha"] = gguf.encode_value("f32", 8.0)
    head = gguf.header(encoded, [(name, "f32", shape) for name, shape in tensors.items()])
    size = 0
    for shape in tensors.values():
        count = 4
        for extent in shape:
            count *= extent
        size += -(-count // 32) * 32
    return head + bytes(size)


def told(folder: Path, adapter: dict[str, tuple[int, ...]], more: str = "") -> list[str]:
    toml = f'[model.a]\nfrom = "./x.gguf"\nadapters = [{{ path = "l.gguf" }}]\n{more}'
    made = graph(folder, toml, {"x.gguf": file("model", SHAPES), "l.gguf": file("adapter", adapter)})
    found = preflight.look(made)
    return [f"{error.path}: {error.what}" for error in preflight.distinct(found.errors)]


@pytest.mark.parametrize("more", ["", 'metadata = { "general.name" = "N" }\n'], ids=["as it is", "of a recipe"])
@pytest.mark.parametrize(
    "adapter",
    [
        Q,
        {"token_embd.weight.lora_a": (320, 4), "token_embd.weight.lora_b": (64, 4)},
        {"blk.0.ffn_up_exps.weight.lora_a": (4, 2, 64), "blk.0.ffn_up_exps.weight.lora_b": (4, 96, 2)},
    ],
)
def test_one_that_fits(adapter: dict[str, tuple[int, ...]], more: str, tmp_path: Path) -> None:
    assert told(tmp_path, adapter, more) == []


@pytest.mark.parametrize("more", ["", 'metadata = { "general.name" = "N" }\n'], ids=["as it is", "of a recipe"])
@pytest.mark.parametrize(
    ("adapter", "what"),
    [
        ({**Q, "blk.0.attn_q.weight.lora_a": (4, 128)}, "the adapter does not fit the model's 'blk.0.attn_q.weight'"),
        ({**Q, "blk.0.attn_q.weight.lora_b": (128, 4)}, "the adapter does not fit the model's 'blk.0.attn_q.weight'"),
        (
            {name.replace("blk.0", "blk.9"): shape for name, shape in Q.items()},
            "the adapter changes 1 tensor that the model does not have",
        ),
        (
            {"token_embd.weight.lora_a": (321, 4), "token_embd.weight.lora_b": (64, 4)},
            "the adapter does not fit the model's 'token_embd.weight'",
        ),
    ],
)
def test_one_of_another_model(adapter: dict[str, tuple[int, ...]], what: str, more: str, tmp_path: Path) -> None:
    assert told(tmp_path, adapter, more) == [f"{tmp_path / 'l.gguf'}: {what}"]


@pytest.mark.parametrize(("size", "fits"), [(64, True), (96, False)])
def test_a_draft_goes_on_from_the_states_of_its_model(size: int, fits: bool, tmp_path: Path) -> None:
    draft = {"nextn.post_projection.weight": (size, 32)}
    files = {"x.gguf": file("model", SHAPES), "d.gguf": file("model", draft)}
    found = preflight.look(graph(tmp_path, '[model.a]\nfrom = "./x.gguf"\ndraft = "d.gguf"\n', files))
    told = [f"{Path(str(error.path)).name}: {error.what}" for error in preflight.distinct(found.errors)]
    assert told == ([] if fits else ["d.gguf: the draft belongs to another model"])


@pytest.mark.parametrize(
    ("tokens", "joint", "fits"),
    [(320, False, True), (448, False, True), (449, False, False), (320, True, True), (321, True, False)],
)
def test_a_draft_has_the_tokens_of_its_model(tokens: int, joint: bool, fits: bool, tmp_path: Path) -> None:
    rows = SHAPES["token_embd.weight"]
    assert 320 in rows
    draft = {"token_embd.weight": tuple(tokens if each == 320 else each for each in rows)}
    draft |= {"nextn.post_projection.weight": (64, 32)} if joint else {}
    files = {"x.gguf": file("model", SHAPES), "d.gguf": file("model", draft)}
    found = preflight.look(graph(tmp_path, '[model.a]\nfrom = "./x.gguf"\ndraft = "d.gguf"\n', files))
    told = [error.what for error in preflight.distinct(found.errors)]
    assert told == ([] if fits else ["the draft has other tokens than the model"])


def test_a_draft_is_judged_where_the_file_of_its_model_is_made_already(tmp_path: Path) -> None:
    files = {"x.gguf": file("model", SHAPES), "d.gguf": file("model", {"nextn.post_projection.weight": (96, 32)})}
    toml = '[model.a]\nfrom = "./x.gguf"\nmetadata = { "general.name" = "N" }\ndraft = "d.gguf"\n'
    made = graph(tmp_path, toml, files)
    manifest = [name for name, step in made.steps.items() if step.kind == "manifest"]
    found = preflight.look(made, manifest)
    assert [error.what for error in preflight.distinct(found.errors)] == ["the draft belongs to another model"]
    assert list(found.errors) == manifest
