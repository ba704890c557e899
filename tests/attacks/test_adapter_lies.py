"""Adapters that lie, are cut short or are another model's: one error for each, from the headers alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelbuild.checkpoint.adapters.files import PEFT
from modelbuild.errors import Error, render
from modelbuild.steps import adapt, merge
from modelbuild.tensors.formats import gguf
from modelbuild.tensors.recipe import Recipe
from tests import adapters, recipes, zoo
from tests.at_length import examples
from tests.tensors.formats import golden

STEM = "base_model.model.model.layers.0.self_attn.q_proj"
TENSOR = adapters.matrix("x", 4, 64)

Lie = Callable[[Path], object]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    folder = zoo.write(tmp_path_factory.mktemp("base") / "m", zoo.cases("llama")["bf16"])
    return recipes.converted(folder)


def shapes() -> Mapping[str, tuple[int, ...]]:
    return zoo.cases("llama")["bf16"].shapes


def peft(
    change: Callable[[dict[str, Any]], object] = lambda tensors: None, *, without: tuple[str, ...] = (), **config: Any
) -> Lie:
    """A PEFT adapter of q and v, its tensors changed by name."""

    def write(folder: Path) -> None:
        pairs = adapters.factors(shapes(), r".*(q_proj|v_proj)")
        tensors: dict[str, Any] = {
            f"base_model.model.{module}.lora_{half}.weight": x
            for module, pair in pairs.items()
            for half, x in pair.items()
        }
        change(tensors)
        adapters.write_peft(folder, {}, more=tensors, without=without, **{"r": 4, **config})

    return write


def mlx(change: Callable[[dict[str, Any]], object] = lambda config: None) -> Lie:
    def write(folder: Path) -> None:
        adapters.write_mlx(folder, adapters.factors(shapes(), r".*q_proj"))
        config = json.loads((folder / "adapter_config.json").read_text())
        change(config)
        (folder / "adapter_config.json").write_text(json.dumps(config))

    return write


def file(name: str, data: bytes, lie: Lie = peft()) -> Lie:  # noqa: B008
    def write(folder: Path) -> None:
        lie(folder)
        (folder / name).write_bytes(data)

    return write


def put(**tensors: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found.update(
        {name if "." in name else f"{STEM}.{name.replace('__', '.')}": x for name, x in tensors.items()}
    )


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda found: found.pop(f"{STEM}.{name}")


def of_another(found: dict[str, Any]) -> None:
    for name in list(found):
        found[name.replace("self_attn", "attention").replace("q_proj", "wq")] = found.pop(name)


def wider(found: dict[str, Any]) -> None:
    for name in list(found):
        found[name] = adapters.matrix(name, 4, 128) if "lora_A" in name else adapters.matrix(name, 128, 4)


def turned(found: dict[str, Any]) -> None:
    for name in list(found):
        found[name] = np.ascontiguousarray(found[name].T)


LIES: Mapping[str, Lie] = {
    "half-b": peft(drop("lora_B.weight")),
    "half-a": peft(drop("lora_A.weight")),
    "rank": peft(r=8),
    "rank-of-one": peft(rank_pattern={"layers.0.self_attn.q_proj": 2}),
    "transposed": peft(turned),
    "another-architecture": peft(of_another),
    "another-size": peft(wider),
    "another-depth": peft(put(**{STEM.replace("layers.0", "layers.7") + ".lora_A.weight": TENSOR,
                                STEM.replace("layers.0", "layers.7") + ".lora_B.weight": adapters.matrix("y", 64, 4)})),
    "unknown-tensors": peft(put(**{"base_model.model.vae.weight": TENSOR})),
    "vision": peft(put(**{"base_model.model.vision_tower.x.lora_A.weight": TENSOR,
                          "base_model.model.vision_tower.x.lora_B.weight": adapters.matrix("y", 64, 4)})),
    "classification-head": peft(put(**{"base_model.model.score.weight": adapters.matrix("s", 2, 64)}), task_type="SEQ_CLS"),
    "no-r": peft(without=("r",)),
    "r-zero": peft(r=0),
    "r-text": peft(r="8"),
    "r-absurd": peft(r=1 << 40),
    "no-alpha": peft(without=("lora_alpha",)),
    "alpha-nan": peft(lora_alpha=float("nan")),
    "alpha-text": peft(lora_alpha="16"),
    "alpha-zero": peft(lora_alpha=0),
    "loha": peft(peft_type="LOHA"),
    "qalora": peft(use_qalora=True),
    "bdlora": peft(use_bdlora={"nblocks": 4}),
    "unknown-variant": peft(use_something_new=True),
    "arrow": peft(arrow_config={"top_k": 3}),
    "layer-replication": peft(layer_replication=[[0, 2], [1, 2]]),
    "pissa": peft(init_lora_weights="pissa"),
    "patterns-no-table": peft(rank_pattern=[1]),
    "pattern-of-hours": peft(alpha_pattern={"(a+)+$": 3}),
    "alpha-pattern-text": peft(alpha_pattern={"q_proj": "3"}),
    "invocation-no-list": peft(alora_invocation_tokens="hello"),
    "invocation-string": peft(invocation_string="hello"),
    "magnitude-alone": peft(put(**{"base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector": adapters.matrix("m", 96)})),
    "one-dimension": peft(put(lora_A__weight=adapters.matrix("z", 64))),
    "twice": peft(put(lora_A__default__weight=TENSOR)),
    "empty": peft(lambda found: found.clear()),
    "dora": peft(put(lora_magnitude_vector=adapters.matrix("m", 64))),
    "dora-without-magnitudes": peft(use_dora=True),
    "biases-without-any": peft(lora_bias=True),
    "alpha-tiny": peft(lora_alpha=1e-45),
    "mlx-scale-zero": mlx(lambda config: config["lora_parameters"].update(scale=0)),
    "modules-to-save": peft(put(**{"base_model.model.lm_head.weight": adapters.matrix("h", 320, 64)})),
    "biases": peft(put(lora_B__bias=adapters.matrix("b", 64)), lora_bias=True),
    "tokens": peft(put(**{"base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta": adapters.matrix("t", 2, 64)}),
                   trainable_token_indices=[5, 6]),
    "tokens-too-few": peft(put(**{"base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta": adapters.matrix("t", 2, 64)}),
                           trainable_token_indices=[5]),
    "experts-of-none": peft(put(**{"base_model.model.model.layers.0.mlp.experts.lora_A.weight": TENSOR,
                                   "base_model.model.model.layers.0.mlp.experts.lora_B.weight": adapters.matrix("y", 64, 4)}),
                            target_parameters=["mlp.experts.down_proj"]),
    "config-list": file("adapter_config.json", b"[]"),
    "config-cut": file("adapter_config.json", b'{"r": 4, '),
    "config-pointer": file("adapter_config.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n"),
    "weights-pointer": file(PEFT, b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n"),
    "weights-pickle": file(PEFT, b"PK\x03\x04" + bytes(64)),
    "weights-empty": file(PEFT, b""),
    "no-config": lambda folder: (peft()(folder), (folder / "adapter_config.json").unlink()),
    "mlx-no-scale": mlx(lambda config: config["lora_parameters"].pop("scale")),
    "mlx-no-rank": mlx(lambda config: config["lora_parameters"].pop("rank")),
    "mlx-rank": mlx(lambda config: config["lora_parameters"].update(rank=8)),
    "mlx-scale-text": mlx(lambda config: config["lora_parameters"].update(scale="2")),
    "mlx-no-parameters": mlx(lambda config: config.pop("lora_parameters")),
    "mlx-kind": mlx(lambda config: config.update(fine_tune_type="ia3")),
}  # fmt: skip


def adapt_folder(folder: Path, model: Recipe) -> Recipe:
    return adapt.look({"folder": folder.name, "outtype": "source", "scale": 1.0}, adapters.Files(folder, model)).recipe


def merge_folder(folder: Path, model: Recipe) -> Recipe:
    return merge.look({"scale": 1.0, "requantize": True}, adapters.Files(folder, model)).recipe


@pytest.mark.parametrize("lie", LIES)
def test_complaint_is_the_golden_one(lie: str, model: Recipe, tmp_path: Path) -> None:
    LIES[lie](tmp_path / "a")
    golden.check(
        f"adapter-{lie}", golden.complaint(lambda: adapt_folder(tmp_path / "a", model)).replace(str(tmp_path), "")
    )


def test_every_golden_has_its_case() -> None:
    assert golden.unused("adapter-", {f"adapter-{lie}" for lie in (*LIES, *FILES, *VALUES_LIES, *GGUF_LIES)}) == set()


def gguf_file(
    tensors: Mapping[str, tuple[int, ...]],
    alpha: float | None = 8.0,
    kind: str = "lora",
    architecture: str = "llama",
    fill: float = 0.0,
    more: Mapping[str, bytes] | None = None,
) -> bytes:
    metadata = {
        "general.architecture": gguf.encode_value("str", architecture),
        "general.type": gguf.encode_value("str", "adapter"),
        "adapter.type": gguf.encode_value("str", kind),
    }
    if alpha is not None:
        metadata["adapter.lora.alpha"] = gguf.encode_value("f32", alpha)
    head = gguf.header({**metadata, **(more or {})}, [(name, "f32", shape) for name, shape in tensors.items()])
    bodies = (np.full(shape, fill, "<f4").tobytes() for shape in tensors.values())
    return head + b"".join(body + bytes(-len(body) % 32) for body in bodies)


Q = {"blk.0.attn_q.weight.lora_a": (4, 64), "blk.0.attn_q.weight.lora_b": (64, 4)}

FILES: Mapping[str, bytes] = {
    "gguf-half": gguf_file({"blk.0.attn_q.weight.lora_a": (4, 64)}),
    "gguf-ranks": gguf_file({**Q, "blk.0.attn_q.weight.lora_b": (64, 8)}),
    "gguf-shape": gguf_file({**Q, "blk.0.attn_q.weight.lora_b": (96, 4)}),
    "gguf-unknown": gguf_file({name.replace("attn_q", "attn_w"): shape for name, shape in Q.items()}),
    "gguf-kind": gguf_file(Q, kind="ia3"),
    "gguf-no-alpha": gguf_file(Q, alpha=None),
    "gguf-more": gguf_file({**Q, "blk.0.attn_norm.weight": (64,)}),
    "gguf-architecture": gguf_file(Q, architecture="gemma"),
    "gguf-depth": gguf_file({name.replace("blk.0", "blk.7"): shape for name, shape in Q.items()}),
    "gguf-transposed": gguf_file({name: shape[::-1] for name, shape in Q.items()}),
    "gguf-norm": gguf_file({"output_norm.weight.lora_a": (1, 64), "output_norm.weight.lora_b": (1, 1)}),
    "gguf-more-unknown": gguf_file({**Q, "blk.0.x": (64,)}),
    "gguf-empty": gguf_file({}),
    "gguf-alpha-nan": gguf_file(Q, alpha=float("nan")),
    "gguf-alpha-u32": gguf_file(Q, more={"adapter.lora.alpha": gguf.encode_value("u32", 8)}),
    "gguf-invocation-i32": gguf_file(Q, more={"adapter.alora.invocation_tokens": gguf.encode_value("[i32]", [1])}),
    "gguf-invocation-text": gguf_file(Q, more={"adapter.alora.invocation_tokens": gguf.encode_value("str", "x")}),
}


@pytest.mark.parametrize("lie", FILES)
def test_complaint_about_a_gguf_file_is_the_golden_one(lie: str, model: Recipe, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(FILES[lie])
    golden.check(f"adapter-{lie}", golden.complaint(lambda: adapt_folder(tmp_path / "a.gguf", model)))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.sampled_from(["", "q_proj", "LORA", "gaussian"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["q_proj", "rank", "scale", ".*"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
KEYS = [
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_parameters", "trainable_token_indices", "use_rslora", "peft_type",
    "alora_invocation_tokens", "lora_parameters", "fine_tune_type", "init_lora_weights", "peft_version",
]  # fmt: skip
NAMES = [
    "lora_A.weight", "lora_B.weight", "lora_B.bias", "lora_magnitude_vector", "lora_a", "lora_b", "m", "weight", "bias",
    "base_layer.lora_A.weight", "lora_embedding_A", "lora_embedding_B", "token_adapter.trainable_tokens_delta",
]  # fmt: skip
MODULES = ["model.layers.0.self_attn.q_proj", "model.embed_tokens", "model.layers.0.mlp.experts", "lm_head", "x"]


@settings(max_examples=examples(100), deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4),
    st.dictionaries(
        st.tuples(st.sampled_from(MODULES), st.sampled_from(NAMES)),
        st.lists(st.sampled_from([1, 4, 64, 320]), min_size=1, max_size=3),
        max_size=4,
    ),
)
def test_any_adapter_gives_a_recipe_or_an_error(
    fuzzed: tuple[Path, Recipe], config: dict[str, Any], tensors: dict[tuple[str, str], list[int]]
) -> None:
    folder, model = fuzzed
    more = {
        f"base_model.model.{module}.{name}": adapters.matrix(name, *shape) for (module, name), shape in tensors.items()
    }
    adapters.write_peft(folder, {}, more=more, **config)
    for made in (adapt_folder, merge_folder):
        try:
            assert made(folder, model).tensors is not None
        except Error as error:
            assert render(error)


@pytest.fixture(scope="module")
def fuzzed(model: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    return tmp_path_factory.mktemp("fuzz") / "a", model


def test_a_model_that_we_do_not_convert(tmp_path: Path) -> None:
    other = Recipe({"general.architecture": gguf.encode_value("str", "mamba")}, ())
    peft()(tmp_path / "a")
    with pytest.raises(Error, match="adapters of models of the architecture 'mamba' are not supported yet"):
        adapt_folder(tmp_path / "a", other)


def trained(folder: Path, model: Recipe, **parameters: Any) -> bytes:
    given: Any = {"folder": folder.name, "outtype": "source", "scale": 1.0, **parameters}
    return adapt.run(given, adapters.Files(folder, model))


VALUES_LIES: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "nan": lambda found: found[f"{STEM}.lora_A.weight"].__setitem__((1, 2), np.nan),
    "infinity": lambda found: found[f"{STEM}.lora_B.weight"].__setitem__((1, 2), -np.inf),
    "zero": lambda found: [x.fill(0) for name, x in found.items() if "lora_B" in name],
}


@pytest.mark.parametrize("lie", VALUES_LIES)
def test_complaint_about_values_is_the_golden_one(lie: str, model: Recipe, tmp_path: Path) -> None:
    peft(VALUES_LIES[lie])(tmp_path / "a")
    assert adapt_folder(tmp_path / "a", model)
    golden.check(f"adapter-{lie}", golden.complaint(lambda: trained(tmp_path / "a", model)))


GGUF_LIES = {
    "gguf-nan": gguf_file(Q, fill=np.nan),
    "gguf-zero": gguf_file(Q, fill=0.0),
}


@pytest.mark.parametrize("lie", GGUF_LIES)
def test_complaint_about_values_of_a_gguf_file_is_the_golden_one(lie: str, model: Recipe, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(GGUF_LIES[lie])
    golden.check(f"adapter-{lie}", golden.complaint(lambda: trained(tmp_path / "a.gguf", model)))


def test_a_gguf_file_keeps_its_metadata_where_it_is_made_anew(model: Recipe, tmp_path: Path) -> None:
    more = {"general.name": gguf.encode_value("str", "Mine"), "adapter.lora.task_name": gguf.encode_value("str", "t")}
    (tmp_path / "a.gguf").write_bytes(gguf_file(Q, fill=1.0, more=more))
    made = Recipe.decode(trained(tmp_path / "a.gguf", model, scale=0.5)).metadata
    assert more.items() <= made.items()
    assert gguf.decode_value(made["adapter.lora.alpha"]) == 4.0


def test_a_gguf_file_of_a_model_that_we_do_not_convert(tmp_path: Path) -> None:
    from modelbuild.tensors.operations.leaf import leaf
    from modelbuild.tensors.recipe import Entry

    entry = Entry("blk.0.attn_q.weight", (64, 64), leaf("xxh3:0", "f32", (64, 64)))
    other = Recipe({"general.architecture": gguf.encode_value("str", "mamba")}, (entry,))
    (tmp_path / "a.gguf").write_bytes(gguf_file(Q, architecture="mamba"))
    assert adapt_folder(tmp_path / "a.gguf", other) and merge_folder(tmp_path / "a.gguf", other)


def test_a_gguf_file_may_say_its_leading_ones(model: Recipe, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(gguf_file({name: (1, *shape) for name, shape in Q.items()}, fill=1.0))
    assert adapt_folder(tmp_path / "a.gguf", model) and merge_folder(tmp_path / "a.gguf", model)


def test_a_file_may_have_the_name_of_the_adapter_in_it(model: Recipe, tmp_path: Path) -> None:
    def named(found: dict[str, Any]) -> None:
        for name in list(found):
            found[name.replace(".weight", ".mine.weight")] = found.pop(name)

    peft(named)(tmp_path / "a")
    assert len(adapt_folder(tmp_path / "a", model).tensors) == 8


def test_one_trained_for_classes_is_a_warning(model: Recipe, tmp_path: Path) -> None:
    peft(task_type="SEQ_CLS")(tmp_path / "a")
    (warning,) = adapt.look(
        {"folder": "a", "outtype": "source", "scale": 1.0}, adapters.Files(tmp_path / "a", model)
    ).warnings
    assert warning.what.startswith("the adapter was trained for SEQ_CLS")


def test_a_scale_that_f32_cannot_hold(model: Recipe, tmp_path: Path) -> None:
    peft()(tmp_path / "a")
    for scale, what in ((1e-46, "changes nothing"), (1e39, "changes all beyond measure")):
        with pytest.raises(Error, match=what):
            merge.look({"scale": scale}, adapters.Files(tmp_path / "a", model))


def test_thousands_of_unknown_tensors_take_no_hours(model: Recipe, tmp_path: Path) -> None:
    more = {f"base_model.model.x.{n}.lora_{half}.weight": TENSOR[:1, :1] for n in range(1200) for half in "AB"}
    adapters.write_peft(tmp_path / "a", {}, more=more, r=1)
    with pytest.raises(Error, match="the adapter changes at least 1,?000 tensors that the model does not have"):
        adapt_folder(tmp_path / "a", model)


def test_an_untrained_one_may_be_allowed(model: Recipe, tmp_path: Path) -> None:
    peft(VALUES_LIES["zero"])(tmp_path / "a")
    assert trained(tmp_path / "a", model, allow_zero=True)


def test_one_pair_that_is_zero_is_no_fault(model: Recipe, tmp_path: Path) -> None:
    peft(lambda found: found[f"{STEM}.lora_B.weight"].fill(0))(tmp_path / "a")
    assert trained(tmp_path / "a", model)
