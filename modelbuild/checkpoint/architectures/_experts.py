"""Experts: the tensors of a block's experts become one tensor of three dimensions for each of their parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from modelbuild.checkpoint.config import Config, first, number
from modelbuild.checkpoint.tensor_names import EXPERTS
from modelbuild.errors import Error
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.operations.stack import stack
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json, listed

_EXPERT = re.compile(r"((?:model\.)?layers\.([0-9]{1,10})\..+)\.experts\.(0|[1-9][0-9]{0,9})\.(.+)\.weight")
_ROUTER = re.compile(r"((?:model\.)?layers\.([0-9]{1,10})\..+)\.gate\.weight")


def stacked(
    sources: Mapping[str, Expression], parts: Sequence[str], config: Config, *keys: str
) -> Iterator[tuple[str, Expression]]:
    """A checkpoint's tensors, with those of a block's experts stacked where the last of them stands.

    `….experts.0.w1.weight` to `….experts.7.w1.weight` of [out, in] become `….experts.w1.weight` of [8, out, in]; in f32 where their
    dtypes differ. Everything else passes through.

    parts  what each expert has, in the order in which the stacks follow each other
    keys   of the configuration; the first that is there tells how many experts a block has
    Raises Error where an expert is missing or one too many, or has another part or shape than the others.
    Source: llama.cpp conversion, LlamaModel and Qwen2MoeModel, modify_tensors and prepare_tensors
    """
    key = next((key for key in keys if key in config), keys[-1])
    blocks: dict[str, str] = {}
    pending: dict[str, dict[int, Expression]] = {}
    complete = set()
    count = 0
    # What stands behind `.experts.` -> its place among a block's: most tensors of a large model have one of a few hundred such names.
    places: dict[str, int] = {}
    for name, x in sources.items():
        stem, _, rest = name.rpartition(EXPERTS)
        found, place = pending.get(stem), places.get(rest)
        if found is None or place is None:
            if (expert := _EXPERT.fullmatch(name)) is None:
                if router := _ROUTER.fullmatch(name):
                    blocks[router[1]] = router[2]
                elif EXPERTS in name:
                    # A checkpoint that holds them stacked already.
                    complete.add(name.partition(EXPERTS)[0])
                yield name, x
                continue
            stem, block, index, part = expert[1], expert[2], int(expert[3]), expert[4]
            count = count or number(config, *keys)
            if index >= count or part not in parts:
                raise Error(
                    f"tensor '{name}' cannot be mapped: no expert of block {block} has such a tensor",
                    facts=[("experts", f"{count} ({key})"), ("each has", listed(parts))],
                    hint="config.json belongs to another checkpoint",
                )
            blocks[stem] = block
            found = pending.setdefault(stem, {})
            place = places[f"{index}.{part}.weight"] = index * len(parts) + parts.index(part)
        found[place] = x
        if len(found) == count * len(parts):
            for at, part in enumerate(parts):
                of_all = [found[place] for place in range(at, len(found), len(parts))]
                yield f"{stem}{EXPERTS}{part}.weight", _together(of_all, blocks[stem], part)
            complete.add(stem)
            del pending[stem]
    lacking = sorted(blocks.keys() - complete | pending.keys(), key=lambda stem: (int(blocks[stem]), stem))
    if lacking:
        stem, count = lacking[0], number(config, *keys)
        raise _incomplete(stem, blocks[stem], pending.get(stem, {}), parts, (count, key, len(lacking)))


def _incomplete(
    stem: str, block: str, found: Mapping[int, Expression], parts: Sequence[str], counted: tuple[int, str, int]
) -> Error:
    """The error for a block that lacks experts; `counted`: how many it has, by which key, and the blocks that lack some."""
    count, key, blocks = counted
    index, at = divmod(next(place for place in range(count * len(parts)) if place not in found), len(parts))
    return Error(
        f"block {block} lacks tensors of its experts: expert {index} has no '{parts[at]}'",
        facts=[
            ("expected", f"{stem}{EXPERTS}{index}.{parts[at]}.weight"),
            ("experts", f"{count} ({key})"),
            ("found", f"{len(found)} of {count * len(parts)} tensors"),
            ("blocks", f"{blocks} that lack some"),
        ],
        hint="the download is incomplete, or config.json belongs to another checkpoint",
    )


def named_as_mixtral(sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
    """The names that checkpoints of Mixtral's kind have for what transformers 5 holds in memory, as adapters name it."""
    for source, x in sources.items():
        stem, _, part = source.partition(".mlp.")
        match part:
            case "experts.gate_up_proj" if len(x.shape) == 3 and not x.shape[1] % 2:
                half = x.shape[1] // 2
                yield f"{stem}.block_sparse_moe.experts.w1.weight", slice_(x, 1, 0, half)
                yield f"{stem}.block_sparse_moe.experts.w3.weight", slice_(x, 1, half, 2 * half)
            case "experts.down_proj":
                yield f"{stem}.block_sparse_moe.experts.w2.weight", x
            case "gate.weight":
                yield f"{stem}.block_sparse_moe.{part}", x
            case _:
                yield source, x


def leading(config: Config, blocks: int, *keys: str) -> int:
    """How many blocks without experts come before all others: as the first of `keys` says, or `mlp_layer_types`.

    Raises Error for an order of blocks that the runtime does not know.
    """
    count, types = first(config, *keys), config.get("mlp_layer_types")
    if isinstance(types, list):
        said = next((at for at, kind in enumerate(types) if kind != "dense"), len(types))
        if len(types) != blocks or "dense" in types[said:]:
            raise Error(
                f"'mlp_layer_types' expects the kinds of {blocks} blocks, and those without experts before all others",
                path="config.json",
                hint="llama.cpp's runtime knows no other order",
            )
        return said
    count = 0 if count is None else count
    if type(count) is not int or not 0 <= count <= blocks:
        raise Error(
            f"'{keys[0]}' expects a number of blocks, at most {blocks}, got {in_json(count)}", path="config.json"
        )
    return count


def has_part(stem: str, *, experts: bool) -> bool | None:
    """Whether a block with or without experts has the tensors of a stem `blk.N.…`; None for what both have."""
    name = stem.removeprefix("blk.N.")
    if name in ("ffn_gate", "ffn_up", "ffn_down"):
        return not experts
    if name in ("ffn_gate_inp", "exp_probs_b") or name.endswith(("_exps", "_shexp")):
        return experts
    return None


PARTS = ("down_proj", "gate_proj", "up_proj")


def gated(sources: Mapping[str, Expression], config: Config, *keys: str) -> Iterator[tuple[str, Expression]]:
    """A checkpoint's tensors, with those of experts apart stacked, and those that are stacked already with gate and up apart.

    keys  of the configuration; the first that is there tells how many experts a block has; by default those of most models
    Source: llama.cpp conversion, Qwen2MoeModel.modify_tensors. Raises Error for a form that is neither.
    """
    for source, x in stacked(sources, PARTS, config, *(keys or ("num_local_experts", "num_experts"))):
        name = source.removesuffix(".weight")
        if name.endswith(".mlp.experts.gate_up_proj"):
            stem = name.removesuffix("gate_up_proj")
            if len(x.shape) != 3 or x.shape[1] % 2:
                raise Error(f"tensor '{source}' expects [experts, 2 * rows, columns], got {list(x.shape)}")
            half = x.shape[1] // 2
            yield f"{stem}gate_proj.weight", slice_(x, 1, 0, half)
            yield f"{stem}up_proj.weight", slice_(x, 1, half, 2 * half)
        elif name.endswith(".mlp.experts.down_proj"):
            yield f"{name}.weight", x
        else:
            yield source, x


def _together(experts: Sequence[Expression], block: str, part: str) -> Expression:
    for index, x in enumerate(experts):
        if x.shape != experts[0].shape:
            raise Error(
                f"the experts of block {block} differ in the shape of '{part}'",
                facts=[("expert 0", f"{list(experts[0].shape)}"), (f"expert {index}", f"{list(x.shape)}")],
            )
    if len(dtypes := {x.dtype for x in experts}) > 1:
        if blocks := dtypes.difference(FLOATS):
            raise Error(
                f"some experts of block {block} are {listed(sorted(blocks))} in their '{part}', and others are not",
                hint="start from the unquantized weights",
            )
        experts = [cast("f32", x) for x in experts]
    return stack(experts)
