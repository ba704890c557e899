"""Folders of weights that lie about their parts: indexes, sequences of shards, links, files that claim too much."""

from __future__ import annotations

import itertools
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint import architectures, shards
from modelbuild.engine.graph import Graph, Output, Source, Step, parameters
from modelbuild.errors import Error, render
from modelbuild.plan import preflight
from tests.tensors.formats import golden

from .. import checkpoints, zoo

PARTS = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def index(*names: Any) -> bytes:
    return json.dumps({"weight_map": {f"t{number}": name for number, name in enumerate(names)}}).encode()


LIES: dict[str, Callable[[], object]] = {
    "absolute": lambda: shards.weights(PARTS, index("/etc/passwd")),
    "above": lambda: shards.weights(PARTS, index("../model.safetensors")),
    "below": lambda: shards.weights([*PARTS, "sub"], index("sub/model.safetensors")),
    "backslash": lambda: shards.weights(PARTS, index("..\\model.safetensors")),
    "nul": lambda: shards.weights(PARTS, index("model\0.safetensors")),
    "lines": lambda: shards.weights(PARTS, index("model\n\x1b[31m.safetensors")),
    "no-text": lambda: shards.weights(PARTS, index(3)),
    "list": lambda: shards.weights(PARTS, b"[]"),
    "deep": lambda: shards.weights(PARTS, b'{"weight_map":' + b"[" * 100_000),
    "lfs": lambda: shards.weights(PARTS, LFS.encode()),
    "case": lambda: shards.weights(["Model-00001-of-00001.safetensors"], index("model-00001-of-00001.safetensors")),
    "a-hundred-missing": lambda: shards.weights(["config.json"], index(*(f"model-{number}.safetensors" for number in range(100)))),
    "params-alone": lambda: shards.weights(["params.json", "consolidated.safetensors", "tekken.json"], None),
    "meta": lambda: shards.weights(["params.json", "consolidated.00.pth", "tokenizer.model"], None),
    "pickles": lambda: shards.weights(["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"], None, "it's"),
    "other-pickles": lambda: shards.weights(["model.ckpt"], None),
    "empty": lambda: shards.weights([], None),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str) -> None:
    golden.check(f"index-{lie}", golden.complaint(LIES[lie]))


def test_every_golden_has_its_case() -> None:
    assert golden.unused("index-", {f"index-{lie}" for lie in LIES}) == set()


def test_files_of_huggingface_count_and_those_of_mistral_do_not() -> None:
    assert shards.weights(["consolidated.safetensors", "model.safetensors", "params.json"], None) == ["model.safetensors"]  # fmt: skip


def test_a_whole_sequence_needs_no_index() -> None:
    assert shards.weights([*reversed(PARTS), "config.json"], None) == PARTS


@pytest.mark.parametrize("name", ["config.json", "tokenizer.model", "tokenizer_config.json", shards.INDEX])
def test_a_pointer_of_git_lfs_is_named_as_such(name: str, tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m", shards=2)
    (folder / name).write_text(LFS)
    (error,) = look(folder)[:1]
    assert (error.what, error.path) == ("is a Git LFS pointer, not the file it stands for", str(folder / name))
    assert ("size", "12345") in error.facts


def test_a_weights_file_that_is_a_pointer_is_named_as_such(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    (folder / "model.safetensors").write_text(LFS)
    (error,) = look(folder)
    assert "Git LFS pointer, not the weights" in error.what


def test_the_tokenizer_json_that_is_a_pointer_is_named_as_such(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    (folder / "tokenizer.model").unlink()
    (folder / "tokenizer.json").write_text(LFS)
    assert any("Git LFS pointer" in error.what for error in look(folder))


def test_the_command_for_pickles_can_be_pasted(tmp_path: Path) -> None:
    command = shards.unpickling("/some where/it's")
    assert command.startswith("cd '/some where/it'\"'\"'s' && python3 -c \"import glob, torch; ")
    assert "weights_only=True" in command
    assert "\n" not in command
    assert command.count('"') == 2 + 2


# What is too large to be true is told in bounded time and memory.


def graph_of(folder: Path, **values: Any) -> Graph:
    names = sorted(os.listdir(folder))
    data = (folder / shards.INDEX).read_bytes() if shards.INDEX in names else None
    try:
        weights = shards.weights(names, None if data is None or data.startswith(b"version") else data)
    except Error:
        weights = [name for name in names if name.endswith(".safetensors")]
    inputs = [(name, Source(str(folder / name), "bytes")) for name in shards.small(names)]
    inputs += [(name, Source(str(folder / name), "safetensors")) for name in weights]
    text = parameters({"folder": "m", "outtype": "source", **values})
    step = Step("m/convert", "convert", 1, text, tuple(inputs))
    return Graph([step], [Output("m", ("h/n/m/latest",), "m/convert", ())])


def look(folder: Path, **values: Any) -> list[Error]:
    return preflight.distinct(preflight.look(graph_of(folder, **values)).errors)


@contextmanager
def bounded(seconds: float = 5.0, memory: int = 1 << 30) -> Iterator[None]:
    """Fail where the block takes longer, or asks for so much more memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + memory, old[1]))
    begun = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
    assert time.process_time() - begun < seconds


HUGE = (10**9, (1 << 31) - 1, 1 << 40, 10**300)
NUMBERS = (
    "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
    "num_local_experts", "num_experts", "moe_intermediate_size", "max_position_embeddings", "sliding_window", "num_experts_per_tok",
    "original_max_position_embeddings", "shared_intermediate_size",
)  # fmt: skip


KINDS = [kind.NAME + ":" + kind.CLASSES[0] for kind in architectures.known() if kind.CLASSES]


def absurd(kind: str, folder: Path, claims: Iterable[tuple[str, int]], depths: Iterable[int]) -> None:
    """Look at an architecture's checkpoint after each of the claims in its config.json, and after absurd numbers of layers."""
    name = kind.split(":")[1]
    model_type = next(each.MODEL_TYPE for each in architectures.known() if each.CLASSES[:1] == (name,))
    found = (
        case
        for each in ([model_type] if model_type in zoo.model_types() else zoo.model_types())
        for case in zoo.cases(each).values()
    )
    # Most files of the zoo have the name of the type, and their first case is of its class.
    case = next(
        (case for case in found if model_type in zoo.model_types() or case.config.get("architectures") == [name]), None
    )
    if case is None:
        pytest.skip(f"no case of {name} in the zoo")
    zoo.write(folder, case)
    pre = {"pre": case.pre} if case.pre else {}
    assert look(folder, **pre) == []
    part = case.config.get("text_config")

    def claim(key: str, value: int) -> list[Error]:
        config = {**case.config, "text_config": {**part, key: value}} if part else {**case.config, key: value}
        (folder / "config.json").write_text(json.dumps(config))
        return look(folder, **pre)

    with bounded(seconds=30):
        for key, value in claims:
            for error in claim(key, value):
                assert render(error)
        assert all(claim("num_hidden_layers", layers) for layers in depths)


@pytest.mark.parametrize("kind", KINDS)
def test_a_config_of_absurd_sizes_takes_no_time_and_no_memory(kind: str, tmp_path: Path) -> None:
    # By the kind, a third of the keys and one of the sizes: some twenty kinds have each key, and each size of it. The peers try all.
    first = KINDS.index(kind)
    claims = [(key, HUGE[(first + at) % len(HUGE)]) for at, key in enumerate(NUMBERS)]
    absurd(kind, tmp_path / "m", claims[first % 3 :: 3], [HUGE[first % len(HUGE)]])


@pytest.mark.peer
@pytest.mark.parametrize("kind", KINDS)
def test_a_config_of_any_absurd_size_takes_no_time_and_no_memory(kind: str, tmp_path: Path) -> None:
    absurd(kind, tmp_path / "m", itertools.product(NUMBERS, HUGE), HUGE)


def test_a_file_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    for name in ("config.json", "tokenizer.model", "README.md"):
        kept = (folder / name).read_bytes() if (folder / name).exists() else b""
        with (folder / name).open("wb") as file:
            file.truncate(1 << 40)
        with bounded():
            errors = look(folder)
        assert [error.what for error in errors] == ["is 1,099,511,627,776 bytes long, expected at most 200,000,000"]
        (folder / name).write_bytes(kept)


def test_a_header_of_many_tensors_is_bounded(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    ends = [(f"t{number}", 4 * number) for number in range(200_000)]
    header = {name: {"dtype": "F32", "shape": [], "data_offsets": [at, at + 4]} for name, at in ends}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 4 * 200_000)
    with bounded(seconds=10):
        assert look(folder)


def test_a_shape_whose_product_overflows_is_an_error(tmp_path: Path) -> None:
    folder = checkpoints.write(tmp_path / "m")
    big = [1 << 62, 1 << 62, 1 << 62]
    text = json.dumps({"a": {"dtype": "F32", "shape": big, "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    (error,) = look(folder)
    assert "which does not fit its dtype and shape" in error.what
