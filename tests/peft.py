"""What PEFT makes of small checkpoints and adapters: the cases that are recorded in tests/golden/peft, and how near our merges come."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelbuild.checkpoint.adapters.files import PEFT
from modelbuild.steps import merge
from modelbuild.tensors.formats import safetensors
from modelbuild.tensors.recipe import Recipe

from . import adapters, checkpoints, recipes, zoo
from .zoo import gpt_oss, granitemoe, llama, mixtral

GOLDEN = Path(__file__).parent / "golden/peft"
OLD, NEW = "0.18.1", "0.21.2"
"""The versions of PEFT that the goldens are of, as .ci/peers installs them: the last that has the factors of experts the other way
round, and the newest."""

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FEW = ["q_proj", "v_proj", "down_proj"]
PLAIN: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": PROJECTIONS}

RECORD, MERGED = "recorded with.json", "merged.safetensors"

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]
"""name -> dtype as we spell it, shape, bytes"""


@dataclass(frozen=True)
class Golden:
    """A checkpoint and the adapters that are merged into it, in their order.

    configs   what LoraConfig says of each adapter
    scales    a factor of the user's on each
    versions  of PEFT, whose files are kept
    """

    base: zoo.Case
    configs: Sequence[Mapping[str, Any]]
    scales: Sequence[float] = field(default=(1.0,) * 8)
    versions: Sequence[str] = (NEW,)

    @property
    def dora(self) -> bool:
        return any(config.get("use_dora") for config in self.configs)


def small(dtype: str = "bf16", **changes: Any) -> zoo.Case:
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    return llama.case({**sizes, "num_key_value_heads": 1, "vocab_size": 288, **changes}, dtype=dtype)


def plain(**config: Any) -> list[dict[str, Any]]:
    return [{**PLAIN, **config}]


def experts(model: Any, wide: int, high: int) -> zoo.Case:
    """A checkpoint whose experts are fused, of one block."""
    sizes = {"num_hidden_layers": 1, "hidden_size": wide, "intermediate_size": high}
    if model is gpt_oss:
        floats = {**gpt_oss.FLOATS, "layer_types": ["full_attention"]}
        return gpt_oss.case({**sizes, **floats}, packed=False)
    made: zoo.Case = model.case(sizes)
    return made


def fused(*parameters: str, **config: Any) -> list[dict[str, Any]]:
    return [{"r": 2, "lora_alpha": 4, "target_modules": [], "target_parameters": list(parameters), **config}]


OF_GPT_OSS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
OF_GRANITE = ("input_linear.weight", "output_linear.weight")
FEW_EXPERTS = {
    **mixtral.CONFIG,
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_local_experts": 4,
}
BOTH = (OLD, NEW)

CASES: dict[str, Golden] = {
    "plain": Golden(small(), plain()),
    "f16": Golden(small("f16"), plain(target_modules=FEW)),
    "f32": Golden(small("f32"), plain()),
    "scaled": Golden(small(), plain(target_modules=FEW), (0.7,)),
    "rslora": Golden(small(), plain(use_rslora=True, target_modules=FEW)),
    "rank_pattern": Golden(small(), plain(rank_pattern={"q_proj": 3, "down_proj": 7}, target_modules=FEW)),
    "alpha_pattern": Golden(
        small(), plain(alpha_pattern={r"layers\.0\..*v_proj": 5, "down_proj": 3}, target_modules=FEW)
    ),
    "dora": Golden(small(), plain(use_dora=True, target_modules=FEW)),
    "dora of f32": Golden(small("f32"), plain(use_dora=True, target_modules=["q_proj", "up_proj"])),
    "embedding": Golden(small(), plain(target_modules=["embed_tokens", "k_proj"])),
    "lora_bias": Golden(small(attention_bias=True), plain(lora_bias=True, target_modules=["q_proj", "v_proj"])),
    "modules_to_save": Golden(small(), plain(target_modules=["k_proj"], modules_to_save=["lm_head"])),
    "fan_in_fan_out": Golden(small(), plain(fan_in_fan_out=True, target_modules=["q_proj", "v_proj"])),
    "trainable_token_indices": Golden(small(), plain(trainable_token_indices=[3, 17, 280], target_modules=["k_proj"])),
    "several in order": Golden(
        small(),
        [*plain(target_modules=FEW), *plain(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj"])],
        (1.0, 0.5),
    ),
    "experts one by one": Golden(
        zoo.Case(FEW_EXPERTS, mixtral.shapes(FEW_EXPERTS)),
        plain(r=2, target_modules=["w1", "w2", "w3"]),
    ),
    "fused, columns first": Golden(experts(gpt_oss, 32, 48), fused(*OF_GPT_OSS), versions=BOTH),
    "fused, columns first, square": Golden(experts(gpt_oss, 32, 32), fused(*OF_GPT_OSS), versions=BOTH),
    "fused, rows first": Golden(experts(granitemoe, 32, 48), fused(*OF_GRANITE), versions=BOTH),
    "fused, rows first, square": Golden(experts(granitemoe, 32, 32), fused(*OF_GRANITE), versions=BOTH),
    "fused, one of two": Golden(experts(granitemoe, 32, 32), fused(OF_GRANITE[1], use_rslora=True), versions=BOTH),
}
KEPT = [(version, name) for name, case in CASES.items() for version in case.versions]


def adapter_folders(folder: Path, case: Golden) -> list[Path]:
    return [folder / f"adapter-{number + 1}" for number in range(len(case.configs))]


def tensors(path: Path) -> Tensors:
    """Those of a safetensors file."""
    data = path.read_bytes()
    table = safetensors.survey(str(path)).table
    return {t.name: (t.dtype, t.shape, data[t.offset : t.offset + t.length]) for t in table.tensors.values()}


def save(path: Path, found: Tensors) -> None:
    checkpoints.save(path, {name: (zoo.NAMES[dtype], shape, data) for name, (dtype, shape, data) in found.items()})


def changed(base: Path, merged: Path) -> Tensors:
    """The tensors of a merged checkpoint that its base does not have, or has otherwise."""
    old, new = (tensors(each / "model.safetensors") for each in (base, merged))
    assert {name: part[:2] for name, part in old.items()} == {name: part[:2] for name, part in new.items()}
    return {name: part for name, part in new.items() if part != old[name]}


def over(base: Path, found: Tensors, folder: Path) -> Path:
    """A copy of a checkpoint with other tensors over its own."""
    shutil.copytree(base, folder)
    save(folder / "model.safetensors", {**tensors(base / "model.safetensors"), **found})
    return folder


def ours(base: Path, parts: Sequence[Path], pre: str | None, scales: Sequence[float]) -> dict[str, Values]:
    """What we make of a checkpoint and adapters."""
    recipe, leaves = recipes.converted(base, "source", pre), recipes.Folder(base).leaves()
    for folder, scale in zip(parts, scales, strict=False):
        files = adapters.Files(folder, recipe)
        recipe = Recipe.decode(merge.run({"scale": scale}, files))
        leaves |= files.leaves()
    return values(recipe, leaves)


class Values(NamedTuple):
    """A tensor of f32, f16 or bf16; `bits` of bf16 are u16."""

    dtype: str
    bits: NDArray[Any]

    @property
    def wide(self) -> NDArray[np.float32]:
        if self.dtype == "bf16":
            return (self.bits.astype("<u4") << 16).view("<f4")
        return self.bits.astype(np.float32)

    @property
    def ordered(self) -> NDArray[np.int64]:
        """16-bit floats as whole numbers, neighbours one apart."""
        whole = self.bits.view("<u2").astype(np.int64)
        return np.where(whole & 0x8000, -(whole & 0x7FFF), whole)


def values(recipe: Recipe, leaves: Mapping[str, bytes]) -> dict[str, Values]:
    """Every tensor of a recipe."""
    known = {**leaves, **recipe.constants}
    found = {}
    for entry in recipe.tensors:
        form = {"f32": "<f4", "f16": "<f2", "bf16": "<u2"}[entry.expression.dtype]
        bits = np.frombuffer(recipes.evaluate(entry.expression, known), form)
        found[entry.name] = Values(entry.expression.dtype, bits)
    return found


def as_stored(found: Mapping[str, Values], dtype: str) -> dict[str, Values]:
    """Tensors that a file has in f32 and their checkpoint in 16 bits: in these, since no value is lost."""
    return {name: _narrow(x, dtype) if x.dtype == "f32" and dtype != "f32" else x for name, x in found.items()}


def _narrow(x: Values, dtype: str) -> Values:
    bits = (x.bits.view("<u4") >> 16).astype("<u2") if dtype == "bf16" else x.bits.astype("<f2")
    narrow = Values(dtype, bits)
    return narrow if (narrow.wide == x.bits).all() else x


def magnitudes(
    base: Path, parts: Sequence[Path], pre: str | None, scales: Sequence[float], folder: Path
) -> dict[str, Values]:
    """|W| + |s| |b| |a| of every tensor: what the error of a sum in f32 is measured with. A DoRA's magnitudes are left out."""
    plus = over(base, {name: _absolute(part) for name, part in tensors(base / "model.safetensors").items()}, folder)
    others = []
    for number, part in enumerate(parts):
        others.append(shutil.copytree(part, folder / f"adapter-{number + 1}"))
        found = tensors(part / PEFT)
        kept = {name: _absolute(x) for name, x in found.items() if "lora_magnitude_vector" not in name}
        save(others[-1] / PEFT, kept)
        config = json.loads((part / "adapter_config.json").read_text())
        (others[-1] / "adapter_config.json").write_text(json.dumps({**config, "use_dora": False}))
    return ours(plus, others, pre, [abs(scale) for scale in scales])


def _absolute(part: tuple[str, tuple[int, ...], bytes]) -> tuple[str, tuple[int, ...], bytes]:
    dtype, shape, data = part
    form, mask = ("<u4", 0x7FFFFFFF) if dtype == "f32" else ("<u2", 0x7FFF)
    return dtype, shape, (np.frombuffer(data, form) & mask).astype(form).tobytes()


class Apart(NamedTuple):
    """How far two sets of tensors lie apart.

    count      values of 16 bits
    different  those of them that differ
    units      by how many units in their last place at most; results next to nothing aside, where a unit is less than the error of sums
    nothing    how many those are
    error      of values of f32, the largest difference over |W| + |s| |b| |a|
    """

    count: int
    different: int
    units: int
    nothing: int
    error: float

    @property
    def share(self) -> float:
        return self.different / self.count if self.count else 0.0


SUM = 2.0**-20
"""The error of a sum in f32 over |W| + |s| |b| |a|, in any order of adding."""


def apart(
    one: Mapping[str, Values], other: Mapping[str, Values], sizes: Mapping[str, Values], error_of_sums: float = SUM
) -> Apart:
    """`sizes` is |W| + |s| |b| |a|."""
    assert sorted(one) == sorted(other)
    count, different, units, nothing, error = 0, 0, 0, 0, 0.0
    for name, theirs in other.items():
        got = one[name]
        assert (got.dtype, got.bits.shape) == (theirs.dtype, theirs.bits.shape), name
        size = np.abs(sizes[name].wide)
        distance = np.abs(got.wide.astype(np.float64) - theirs.wide)
        if got.dtype == "f32":
            error = max(error, float((distance / np.where(size == 0, 1, size)).max()))
        else:
            steps = np.abs(got.ordered - theirs.ordered)
            small = (steps > 1) & (distance <= error_of_sums * size)
            count, different, nothing = (
                count + steps.size,
                different + int((steps > 0).sum()),
                nothing + int(small.sum()),
            )
            units = max(units, int(steps[~small].max(initial=0)))
    return Apart(count, different, units, nothing, error)


def recorded(version: str) -> dict[str, Any]:
    found = json.loads((GOLDEN / version / RECORD).read_text())
    assert isinstance(found, dict)
    return found
