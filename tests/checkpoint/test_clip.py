"""The file of a projector: what is said of towers that are incomplete, mixed up or hostile, and the names that checkpoints have."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest

from modelbuild.checkpoint import parts
from modelbuild.checkpoint.clip import Clip
from modelbuild.checkpoint.shards import Gap
from modelbuild.errors import Error, Errors
from modelbuild.steps import convert
from modelbuild.tensors.formats.gguf import decode_value
from modelbuild.tensors.recipe import Expression, Recipe
from modelbuild.tensors.tensor import Tensor, TensorTable
from tests import towers

FIRST = {kind: next(iter(towers.cases(kind).values())) for kind in towers.kinds()}


class Folder:
    """A checkpoint whose weights are told by their names and shapes alone."""

    def __init__(self, case: towers.Case, config: Any = None, files: Mapping[str, Any] | None = None) -> None:
        self.shapes = dict(case.shapes)
        self.dtypes = dict.fromkeys(self.shapes, case.dtype)
        self.files = {name: text.encode() for name, text in case.files.items()}
        self.files["config.json"] = json.dumps(dict(case.config) if config is None else config).encode()
        self.files |= {name: json.dumps(value).encode() for name, value in (files or {}).items()}

    def roles(self) -> list[str]:
        return [*parts.get("projector").FILES, "model.safetensors"]

    def file(self, role: str) -> bytes | None:
        return self.files.get(role)

    def tables(self) -> list[tuple[str, TensorTable]]:
        tensors, at = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape) * (4 if self.dtypes[name] == "f32" else 2)
            tensors[name] = Tensor(name, self.dtypes[name], shape, at, size, f"xxh3:{name}")
            at += size
        return [("model.safetensors", TensorTable({}, tensors))]

    def shared(self, what: object, make: Callable[[], Any]) -> Any:
        return make()

    def artifact(self, role: str) -> bytes:
        raise AssertionError(role)

    def recipe(self, role: str) -> Recipe:
        raise AssertionError(role)

    def values(self, x: Expression) -> bytes:
        raise AssertionError(x)


def look(folder: Folder) -> Recipe:
    values = convert.Parameters(folder="model", outtype="auto", part="projector")
    return convert.look(values, folder).recipe


def refused(folder: Folder) -> list[Error]:
    with pytest.raises(Errors) as caught:
        look(folder)
    return list(caught.value.errors)


def without(kind: str, stem: str) -> Folder:
    folder = Folder(FIRST[kind])
    folder.shapes = {name: shape for name, shape in folder.shapes.items() if stem not in name}
    return folder


@pytest.mark.parametrize(
    ("kind", "stem", "missing"),
    [
        ("gemma3", "mm_input_projection", "mm.input_projection"),
        ("qwen3_vl", "deepstack_merger_list.1.norm.bias", "v.deepstack.2.norm.bias"),
        ("pixtral", "embed_tokens", "v.token_embd.img_break"),
        ("gemma4", "audio_tower.layers.1.norm_out", "a.blk.1.ln2"),
    ],
)
def test_what_the_runtime_loads_must_be_there(kind: str, stem: str, missing: str) -> None:
    (error,) = refused(without(kind, stem))
    assert error.what == "the checkpoint lacks 1 tensor that this kind of projector has"
    assert dict(error.facts)["missing"].removesuffix(".weight") == missing


@pytest.mark.parametrize("kind", towers.kinds())
def test_shapes_are_those_of_the_configuration(kind: str) -> None:
    """Of each matrix, one more column is told before anything is made."""
    for name, shape in FIRST[kind].shapes.items():
        if len(shape) > 1 and Clip(Folder(FIRST[kind]), folder="m", outtype="auto").projector.source(name):
            folder = Folder(FIRST[kind])
            folder.shapes[name] = (*shape[:-1], shape[-1] + 1)
            errors = refused(folder)
            assert errors, name
            assert any("shape" in error.what or "expects" in error.what for error in errors), errors


def stored(dtype: str, said: str | None) -> Folder:
    """A tower, one of whose matrices has another dtype."""
    case = FIRST["gemma3"]
    folder = Folder(case, {**case.config, "torch_dtype": said})
    folder.dtypes["vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"] = dtype
    return folder


def test_codes_without_their_scales_are_no_weights_of_a_tower() -> None:
    (error,) = refused(stored("i8", "bfloat16"))
    assert error.what == "the checkpoint contains 1 matrix of whole numbers, but config.json says bfloat16"
    for dtype, said, what in (
        ("i8", None, "1 matrix of whole numbers, and no projector has such weights"),
        ("f8_e4m3", "bfloat16", "1 matrix of fp8 without scales"),
    ):
        (warning,) = Clip(stored(dtype, said), folder="m", outtype="auto").warnings()
        assert what in warning.what
    assert not Clip(stored("f8_e4m3", "float8_e4m3fn"), folder="m", outtype="auto").warnings()


def test_a_tensor_that_stands_for_nothing_is_named() -> None:
    folder = Folder(FIRST["gemma3"])
    folder.shapes["vision_tower.vision_model.lora_A.weight"] = (4, 4)
    folder.dtypes["vision_tower.vision_model.lora_A.weight"] = "bf16"
    (error,) = refused(folder)
    assert error.what.startswith("tensor 'vision_tower.vision_model.lora_A.weight' cannot be mapped")


@pytest.mark.parametrize(
    "name", ["encoder.layers.2.layer_norm1.weight", "encoder.layers.99999999999.layer_norm1.weight"]
)
def test_blocks_beyond_the_last_are_refused(name: str) -> None:
    folder = Folder(FIRST["gemma3"])
    folder.shapes[f"vision_tower.vision_model.{name}"] = (32,)
    folder.dtypes[f"vision_tower.vision_model.{name}"] = "bf16"
    (error,) = refused(folder)
    assert "cannot be mapped" in error.what


def test_quantized_towers_are_refused() -> None:
    folder = Folder(FIRST["qwen2_vl"])
    folder.shapes["visual.blocks.0.attn.proj.weight_scale"] = (1,)
    folder.dtypes["visual.blocks.0.attn.proj.weight_scale"] = "f32"
    (error,) = refused(folder)
    assert (
        error.what
        == "tensor 'visual.blocks.0.attn.proj.weight_scale' is part of quantized weights, which are not read here"
    )


def renamed(kind: str, new: Callable[[str], str]) -> Folder:
    folder = Folder(FIRST[kind])
    for names in (folder.shapes, folder.dtypes):
        moved = {new(name): value for name, value in names.items()}
        names.clear()
        names.update(moved)
    return folder


@pytest.mark.parametrize(
    ("kind", "new"),
    [
        ("gemma3", lambda name: f"model.{name}"),
        ("gemma3", lambda name: name.replace(".vision_model.", ".")),
        ("gemma3", lambda name: "model." + name.replace(".vision_model.", ".")),
        ("qwen2_vl", lambda name: f"model.{name}"),
        ("qwen2_5_vl", lambda name: f"model.{name}"),
        ("qwen3_vl", lambda name: name.removeprefix("model.")),
        ("idefics3", lambda name: name.removeprefix("model.")),
        ("pixtral", lambda name: f"language_model.model.{name}" if name.startswith("embed") else name),
        ("pixtral", lambda name: f"model.language_model.{name}" if name.startswith("embed") else f"model.{name}"),
    ],
)  # fmt: skip
def test_names_of_all_releases_of_transformers_are_read(kind: str, new: Callable[[str], str]) -> None:
    expected, made = look(Folder(FIRST[kind])), look(renamed(kind, new))
    assert {(each.name, each.shape, each.expression.dtype) for each in made.tensors} == {
        (each.name, each.shape, each.expression.dtype) for each in expected.tensors
    }
    assert made.metadata == expected.metadata


def test_whole_numbers_of_colours_are_floats() -> None:
    """The runtime reads floats, whatever the file says."""
    images = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    made = look(Folder(FIRST["qwen2_vl"], files={"preprocessor_config.json": images}))
    assert decode_value(made.metadata["clip.vision.image_std"]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "files", [{}, {"preprocessor_config.json": {"image_mean": [0.5, 0.5]}}, {"preprocessor_config.json": []}]
)
def test_images_must_be_prepared_somehow(files: dict[str, Any]) -> None:
    folder = Folder(FIRST["gemma3"], files=files)
    if not files:
        del folder.files["preprocessor_config.json"]
    assert any(
        error.input == "preprocessor_config.json" or error.path == "preprocessor_config.json"
        for error in refused(folder)
    )


def test_a_token_beyond_the_embedding_is_refused() -> None:
    tokens = {"added_tokens": [{"id": 300, "content": "[IMG_BREAK]"}]}
    (error,) = refused(Folder(FIRST["pixtral"], files={"tokenizer.json": tokens}))
    assert error.what == "the token [IMG_BREAK] is number 300, and the embedding has the shape [300, 64]"
    (error,) = refused(Folder(FIRST["pixtral"], files={"tokenizer.json": {}}))
    assert "the tokenizer has no token [IMG_BREAK]" in error.what


def test_every_block_may_not_look_at_the_whole_image() -> None:
    config = json.loads(json.dumps(dict(FIRST["qwen2_5_vl"].config)))
    config["vision_config"]["fullatt_block_indexes"] = [0, 1, 2]
    (error,) = refused(Folder(FIRST["qwen2_5_vl"], config))
    assert "fullatt_block_indexes" in error.what


HOSTILE = (None, 0, 1 << 40, "x", {"a": 1}, math.inf, [-1, 1 << 70])


@cache
def keys(kind: str) -> list[tuple[str, ...]]:
    config = FIRST[kind].config
    inner = [(part, key) for part in ("vision_config", "audio_config") for key in config.get(part) or ()]
    inner += [("text_config", key) for key in ("hidden_size", "model_type", "rms_norm_eps", "rope_scaling")]
    return [*((key,) for key in config if key != "architectures"), *inner]


@pytest.mark.parametrize("kind", towers.kinds())
def test_hostile_values_make_an_error_or_a_recipe(kind: str) -> None:
    for path in keys(kind):
        for value in HOSTILE:
            config = json.loads(json.dumps(dict(FIRST[kind].config)))
            part = config[path[0]] if len(path) == 2 else config
            part[path[-1]] = value
            try:
                look(Folder(FIRST[kind], config))
            except Errors as several:
                assert all(isinstance(error, Error) for error in several.errors)
            except Error:
                pass


@pytest.mark.parametrize(
    "name", ["preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"]
)
@pytest.mark.parametrize("kind", ["gemma3", "idefics3", "pixtral"])
def test_hostile_files_make_an_error_or_a_recipe(kind: str, name: str) -> None:
    nested = {
        "image_processor": 3,
        "size": [],
        "image_seq_length": -1,
        "added_tokens": {"a": 1},
        "added_tokens_decoder": [1],
    }
    for value in (*HOSTILE, nested, {**nested, "size": {"longest_edge": 1e99}, "image_seq_length": 1 << 60}):
        with contextlib.suppress(Error, Errors):
            look(Folder(FIRST[kind], files={name: value}))


def test_a_text_model_without_its_tower_says_so() -> None:
    config = dict(FIRST["gemma3"].config)
    (error,) = parts.lacking(config, {"model.norm.weight"})
    assert error.what == (
        "'Gemma3ForConditionalGeneration' reads images, but this checkpoint has no tower for them: it becomes a model of text"
    )
    assert not list(parts.lacking(config, {"vision_tower.vision_model.post_layernorm.weight"}))
    gap = Gap(1, 2, ("model-00002-of-00002.safetensors",))
    (error,) = parts.lost(config, {"model.norm.weight"}, gap)
    assert ("not there", "1 of 2 files: model-00002-of-00002.safetensors") in error.facts
    assert error.hint and "get the files that contain these tensors" in error.hint and "projector = false" in error.hint
    assert not list(parts.lost(config, {"model.norm.weight"}, None))
    assert not list(parts.lost(config, {"vision_tower.vision_model.post_layernorm.weight"}, gap))
    other = {"architectures": ["LlavaForConditionalGeneration"], "vision_config": {"model_type": "clip_vision_model"}}
    (error,) = parts.lacking(other, {"vision_tower.vision_model.post_layernorm.weight"}, gap)
    assert error.facts == () and "is of a kind that is not supported yet (clip_vision_model)" in error.what
    assert not list(parts.lost(other, {"vision_tower.vision_model.post_layernorm.weight"}, gap))


def test_files_that_are_missing_by_their_names_may_hold_what_a_tower_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = without("gemma3", "mm_input_projection")
    roles = [*folder.roles(), "model-00001-of-00002.safetensors"]
    monkeypatch.setattr(folder, "roles", lambda: roles)
    (error,) = refused(folder)
    assert ("not there", "1 of 2 files: model-00002-of-00002.safetensors") in error.facts
    assert error.hint and error.hint.startswith("the download or the save is incomplete")


def test_a_class_that_transformers_moved_is_found() -> None:
    """transformers 4.57 writes the class of some models into `text_config`."""
    config = {key: value for key, value in FIRST["qwen2_vl"].config.items() if key != "architectures"}
    config["text_config"] = {**config["text_config"], "architectures": ["Qwen2VLForConditionalGeneration"]}
    assert parts.possible(config) == ["projector"]
    assert [each.name for each in look(Folder(FIRST["qwen2_vl"], config)).tensors]
