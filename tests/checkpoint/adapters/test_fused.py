"""Pairs of all experts at once are those of each: as PEFT has written them up to 0.18, and since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelbuild.errors import Error
from tests import adapters

from .test_layer import applied, base, layer

E, R = 8, 4
STEM = "model.layers.0.mlp.experts"
TARGETS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]

Array = NDArray[np.float32]


def of_each(name: str, rows: int, columns: int, count: int = E) -> tuple[Array, Array]:
    """Factors of each expert: [experts, rank, columns] and [experts, rows, rank]."""
    return adapters.matrix(f"{name}.A", count, R, columns), adapters.matrix(f"{name}.B", count, rows, R)


def together(a: Array, b: Array, turned: bool) -> tuple[Array, Array]:
    """lora_A and lora_B of a parameter of [experts, rows, columns] (ParamWrapper.get_delta_weight)."""
    if turned:
        a, b = b.swapaxes(1, 2), a.swapaxes(1, 2)
    return a.reshape(-1, a.shape[2]), np.ascontiguousarray(b.transpose(1, 2, 0)).reshape(b.shape[1], -1)


def write(
    folder: Path, turned: bool, hidden: int = 64, forward: int = 96, **config: Any
) -> tuple[Path, dict[str, tuple[Array, Array]]]:
    factors = {"gate_up_proj": of_each("gate_up", 2 * forward, hidden), "down_proj": of_each("down", hidden, forward)}
    more = {}
    for module, parameter in ((f"{STEM}.base_layer", "gate_up_proj"), (STEM, "down_proj")):
        for half, x in zip("AB", together(*factors[parameter], turned), strict=True):
            more[f"base_model.model.{module}.lora_{half}.weight"] = x
    said = {"r": R, "target_parameters": TARGETS, **config}
    return adapters.write_peft(folder, {}, more=more, **said), factors


def product(factors: tuple[Array, Array], scale: float = 2.0) -> NDArray[np.float64]:
    a, b = factors
    made: NDArray[np.float64] = scale * (b.astype(np.float64) @ a)
    return made


def check(deltas: dict[str, NDArray[np.float64]], factors: dict[str, tuple[Array, Array]], forward: int = 96) -> None:
    both = product(factors["gate_up_proj"])
    expected = {"ffn_gate": both[:, :forward], "ffn_up": both[:, forward:], "ffn_down": product(factors["down_proj"])}
    assert deltas.keys() == {f"blk.0.{name}_exps.weight" for name in expected}
    for name, delta in expected.items():
        np.testing.assert_allclose(deltas[f"blk.0.{name}_exps.weight"], delta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("turned", [False, True], ids=["since 0.19.1", "up to 0.18"])
@pytest.mark.parametrize("model_type", ["qwen3_moe", "mixtral"])
def test_shapes_tell_which_way_round_and_which_parameter(model_type: str, turned: bool, tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", model_type, "eight experts")
    folder, factors = write(tmp_path / "lora", turned)
    check(applied(*layer(folder, model)), factors)


def test_a_rank_of_its_own(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", "qwen3_moe", "eight experts")
    patterns = {"experts.gate_up_proj": R, "experts.down_proj": R}
    folder, factors = write(tmp_path / "lora", False, r=16, lora_alpha=8, rank_pattern=patterns)
    check(applied(*layer(folder, model)), factors)


def refused(folder: Path, model: Any) -> str:
    with pytest.raises(Error) as caught:
        layer(folder, model)
    return str(caught.value)


def test_no_parameter_that_fits(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", "qwen3_moe", "eight experts")
    folder, _ = write(tmp_path / "lora", False, forward=128)
    assert "fit none of its parameters" in refused(folder, model)


def test_no_parameter_named(tmp_path: Path) -> None:
    model, _ = base(tmp_path / "model", "qwen3_moe", "eight experts")
    folder, _ = write(tmp_path / "lora", False, target_parameters=None)
    assert "'target_parameters' does not say which of its parameters" in refused(folder, model)


@pytest.mark.parametrize(
    ("version", "turned"), [("0.18.1", True), ("0.17.0", True), ("0.19.0", True), ("0.19.1", False), ("0.21.2", False)]
)
def test_the_version_tells_where_both_ways_fit(version: str, turned: bool, tmp_path: Path) -> None:
    model, _ = square(tmp_path)
    folder, factors = write_square(tmp_path / "lora", turned, peft_version=version)
    deltas = applied(*layer(folder, model))
    np.testing.assert_allclose(deltas["blk.0.ffn_down_exps.weight"], product(factors), rtol=1e-5, atol=1e-6)


def test_nothing_tells_where_both_ways_fit(tmp_path: Path) -> None:
    model, _ = square(tmp_path)
    folder, _ = write_square(tmp_path / "lora", False)
    assert "fit both ways round, and the configuration does not say which PEFT wrote them" in refused(folder, model)


def square(folder: Path) -> tuple[Any, Any]:
    """A model whose experts are as wide as its hidden state."""
    from tests import recipes, zoo

    case = zoo.cases("qwen3_moe")["eight experts"]
    shapes = {name: (64, 64) if ".experts." in name else shape for name, shape in case.shapes.items()}
    config = {**case.config, "moe_intermediate_size": 64}
    zoo.write(folder / "model", zoo.Case(config, shapes, tokenizer=case.tokenizer))
    return recipes.converted(folder / "model", "source", case.pre), case


def write_square(folder: Path, turned: bool, **config: Any) -> tuple[Path, tuple[Array, Array]]:
    factors = of_each("down", 64, 64)
    more = {
        f"base_model.model.{STEM}.lora_{half}.weight": x
        for half, x in zip("AB", together(*factors, turned), strict=True)
    }
    return adapters.write_peft(folder, {}, more=more, r=R, target_parameters=[TARGETS[1]], **config), factors


def of_gpt_oss(folder: Path) -> tuple[Any, Path]:
    """A model with experts as wide as its hidden state, in a checkpoint that has them transposed."""
    from tests import peft, recipes, zoo

    case = peft.experts(peft.gpt_oss, 32, 32)
    return recipes.converted(zoo.write(folder / "model", case), "source", case.pre), folder / "lora"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("version", ["0.19.1", "0.21.2", ""])
def test_another_pair_tells_where_both_ways_fit(version: str, turned: bool, tmp_path: Path) -> None:
    model, folder = of_gpt_oss(tmp_path)
    factors = {"gate_up_proj": (32, 64), "down_proj": (32, 32)}
    more, made = {}, {}
    for module, parameter in ((f"{STEM}.base_layer", "gate_up_proj"), (STEM, "down_proj")):
        # Of [experts, in, out].
        made[parameter] = of_each(parameter, *factors[parameter], count=4)
        for half, x in zip("AB", together(*made[parameter], turned), strict=True):
            more[f"base_model.model.{module}.lora_{half}.weight"] = x
    said = {"r": R, "target_parameters": TARGETS, "peft_version": version}
    deltas = applied(*layer(adapters.write_peft(folder, {}, more=more, **said), model))
    down = product(made["down_proj"]).swapaxes(1, 2)
    np.testing.assert_allclose(deltas["blk.0.ffn_down_exps.weight"], down, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("version", ["0.18.1", "0.19.0", "0.21.2"])
def test_alone_and_transposed_it_is_told_by_old_versions_alone(version: str, tmp_path: Path) -> None:
    model, folder = of_gpt_oss(tmp_path)
    factors = of_each("down", 32, 32, count=4)
    more = {
        f"base_model.model.{STEM}.lora_{half}.weight": x for half, x in zip("AB", together(*factors, True), strict=True)
    }
    adapters.write_peft(folder, {}, more=more, r=R, target_parameters=TARGETS[1:], peft_version=version)
    if version == "0.18.1":
        deltas = applied(*layer(folder, model))
        down = product(factors).swapaxes(1, 2)
        np.testing.assert_allclose(deltas["blk.0.ffn_down_exps.weight"], down, rtol=1e-5, atol=1e-6)
    else:
        assert "fit both ways round, which depends on the transformers that it was trained with" in refused(
            folder, model
        )


def test_parameters_may_be_named_without_their_module(tmp_path: Path) -> None:
    """So PEFT writes what it was told of gate_proj, up_proj and down_proj, with transformers 5."""
    model, _ = base(tmp_path / "model", "qwen3_moe", "eight experts")
    bare = [name.rpartition(".")[2] for name in TARGETS]
    ranks = {rf".*\.{name}": R for name in bare}
    folder, factors = write(tmp_path / "lora", False, r=2 * R, target_parameters=bare, rank_pattern=ranks)
    check(applied(*layer(folder, model)), factors)


@pytest.mark.parametrize(("model_type", "case"), [("mixtral", "eight experts"), ("minimax_m2", "four experts")])
@pytest.mark.parametrize("alone", [True, False])
def test_a_router_goes_where_the_model_has_it(model_type: str, case: str, alone: bool, tmp_path: Path) -> None:
    model, found = base(tmp_path / "model", model_type, case)
    count, forward = (found.config[key] for key in ("num_local_experts", "intermediate_size"))
    a, b = adapters.matrix("router.A", R, 64), adapters.matrix("router.B", count, R)
    of_experts = of_each("gate_up", 2 * forward, 64, count)
    halves = {"mlp.gate": (a, b)} if alone else {"mlp.gate": (a, b), "mlp.experts": together(*of_experts, False)}
    more = {
        f"base_model.model.model.layers.0.{module}.lora_{half}.weight": x
        for module, pair in halves.items()
        for half, x in zip("AB", pair, strict=True)
    }
    named = ["gate.weight"] if alone else ["gate.weight", "gate_up_proj"]
    folder = adapters.write_peft(tmp_path / "lora", {}, more=more, r=R, target_parameters=named, peft_version="0.21.2")
    deltas = applied(*layer(folder, model))
    router = deltas.pop("blk.0.ffn_gate_inp.weight")
    np.testing.assert_allclose(router, product((a, b)), rtol=1e-5, atol=1e-6)
    if not alone:
        both = product(of_experts)
        np.testing.assert_allclose(deltas.pop("blk.0.ffn_gate_exps.weight"), both[:, :forward], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(deltas.pop("blk.0.ffn_up_exps.weight"), both[:, forward:], rtol=1e-5, atol=1e-6)
    assert not deltas
