"""Pairs of parameters that hold the matrices of all experts, as pairs of factors for each expert.

Source: PEFT 0.21.2, tuners/lora/layer.py (ParamWrapper), tuners/tuners_utils.py (_inject_parameters)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations

from modelbuild.checkpoint.adapters.adapter import Adapter, Fused, Pair
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.errors import Error
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.words import listed, shown

_REGISTERED = ("gate_up_proj", "down_proj")
"""The parameters of experts in transformers, in their order: the first is wrapped first."""
_SINCE = (0, 19)
"""The version of PEFT from which a parameter of [experts, out, in] has its columns in lora_A."""

Choice = tuple[tuple[str, Pair], ...]
"""The parameters that the pairs of one module are of."""


def unfused(adapter: Adapter, places: Places) -> dict[str, Pair]:
    """The pairs of experts by the names of parameters: the shapes tell which is which, then PEFT's version.

    Raises Error where neither does.
    """
    modules: dict[str, list[Fused]] = {}
    for each in adapter.fused:
        modules.setdefault(each.module, []).append(each)
    found: dict[str, Pair] = {}
    for module, parts in modules.items():
        parts.sort(key=lambda part: -part.depth)
        choices = list(_choices(parts, adapter.version, places))
        if len(choices) > 1:
            choices = [choice for choice in choices if _in_order(choice)]
        if len(choices) != 1:
            raise _undecided(module, parts, several=bool(choices))
        found.update(choices[0])
    return found


def _choices(parts: list[Fused], version: str, places: Places) -> Iterator[Choice]:
    names = list(dict.fromkeys(name for part in parts for name in part.parameters))
    for chosen in permutations(names, len(parts)) if len(names) < 7 else ():
        fitting = [_fitting(part, name, version, places) for part, name in zip(parts, chosen, strict=True)]
        if all(fitting):
            yield tuple(pair for pair in fitting if pair)


def _in_order(choice: Choice) -> bool:
    """Whether the innermost pair is of the parameter that transformers registers first."""
    names = [name.rpartition(".")[2] for name, _ in choice]
    return names == [name for name in _REGISTERED if name in names]


def _fitting(part: Fused, parameter: str, version: str, places: Places) -> tuple[str, Pair] | None:
    """The pair as one of a parameter, where its shape is the model's."""
    name = f"{part.module}.{parameter}"
    if parameter not in part.parameters:
        return None
    rank, scale = part.parameters[parameter]
    count, rest = divmod(part.a.shape[0], rank)
    if rest or part.b.shape[1] != part.a.shape[0]:
        return None
    if count == 1:
        straight = Pair(part.a, part.b, scale, None, part.files, True)
        return (name, straight) if _fits(name, straight, places) else None
    rows, columns = part.b.shape[0], part.a.shape[1]
    a = reshape(part.a, (count, rank, columns))
    b = reshape(transpose(reshape(part.b, (rows * rank, count))), (count, rows, rank))
    straight = Pair(a, b, scale, None, part.files, True)
    turned = Pair(transpose(b), transpose(a), scale, None, part.files, True)
    fits = [_fits(name, straight, places), _fits(name, turned, places)]
    if all(fits):
        new = _version(version)
        if new is None:
            raise Error(
                f"the factors of '{shown(name)}' fit both ways round, and the configuration does not say which PEFT wrote them",
                path="adapter_config.json",
                facts=[("expected", 'peft_version, such as "0.19.0"')],
                hint="add the version of PEFT that the adapter was saved with",
            )
        fits = [new >= _SINCE, new < _SINCE]
    return (name, straight) if fits[0] else (name, turned) if fits[1] else None


def _fits(name: str, pair: Pair, places: Places) -> bool:
    try:
        made = places.symbols({name: pair.shape})
    except Error:
        return False
    if pair.shape[-1] == pair.shape[-2] and any(_turns(x) for _, x in made):
        # A parameter of [experts, in, out], whose columns are always those of lora_B.
        return pair.a.operation == "transpose"
    return all(gguf in places.entries and places.entries[gguf].shape == x.shape for gguf, x in made)


def _turns(x: object) -> bool:
    return getattr(x, "operation", "") == "transpose" or any(map(_turns, getattr(x, "operands", ())))


def _version(text: str) -> tuple[int, ...] | None:
    found = re.match(r"(\d{1,6})\.(\d{1,6})", text)
    return (int(found[1]), int(found[2])) if found else None


def _undecided(module: str, parts: list[Fused], several: bool) -> Error:
    known = sorted({name for part in parts for name in part.parameters})
    facts = [
        (f"pair {number}", f"lora_A {list(part.a.shape)}, lora_B {list(part.b.shape)}")
        for number, part in enumerate(parts, 1)
    ]
    if not known:
        return Error(
            f"'{shown(module)}' contains all experts of a block, and 'target_parameters' does not say which of its parameters "
            "are adapted",
            path="adapter_config.json",
            facts=facts,
            hint="add the parameters that the adapter was trained on, such as mlp.experts.gate_up_proj",
        )
    return Error(
        f"the factors of '{shown(module)}' {'fit several of its parameters' if several else 'fit none of its parameters'}",
        facts=[("parameters", listed(known)), *facts],
        hint="the adapter is another model's; name the base that it was trained on in FROM",
    )
