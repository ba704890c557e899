"""Pairs of parameters that hold the matrices of all experts, as pairs of factors for each expert.

Source: PEFT 0.21.2, tuners/lora/layer.py (ParamWrapper), tuners/tuners_utils.py (_inject_parameters)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import permutations

from modelbuild.checkpoint.adapters.adapter import Adapter, Fused, Pair
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.errors import Error
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed, shown

_REGISTERED = ("gate_up_proj", "down_proj")
"""The parameters of experts in transformers, in their order: the first is wrapped first."""
_TURNS, _SINCE = (0, 19, 0), (0, 19, 1)
"""Up to 0.18, lora_A has the rows of a parameter; since 0.19.1 its columns, but its rows where the module says `is_transposed`, as those
of [experts, in, out] do since transformers 5. 0.19.0 has the columns of these alone."""

Ways = Mapping[bool, bool]
"""Whether a checkpoint has the parameters transposed -> whether lora_A has their rows, where another pair of the adapter tells."""

Choice = tuple[tuple[str, Pair], ...]
"""The parameters that the pairs of one module are of."""


def unfused(adapter: Adapter, places: Places) -> dict[str, Pair]:
    """The pairs of experts by the names of parameters: the shapes tell which is which, then PEFT's version.

    Raises Error where neither does.
    """
    ways = _ways(adapter, places)
    modules: dict[str, list[Fused]] = {}
    for each in adapter.fused:
        modules.setdefault(each.module, []).append(each)
    found: dict[str, Pair] = {}
    for module, parts in modules.items():
        parts.sort(key=lambda part: -part.depth)
        choices = list(_choices(parts, adapter.version, ways, places))
        if len(choices) > 1:
            choices = [choice for choice in choices if _in_order(choice)]
        if len(choices) != 1:
            raise _undecided(module, parts, several=bool(choices))
        found.update(choices[0])
    return found


def _choices(parts: list[Fused], version: str, ways: Ways, places: Places) -> Iterator[Choice]:
    names = list(dict.fromkeys(name for part in parts for name in part.parameters))
    for chosen in permutations(names, len(parts)) if len(names) < 7 else ():
        fitting = [_fitting(part, name, version, ways, places) for part, name in zip(parts, chosen, strict=True)]
        if all(fitting):
            yield tuple(pair for pair in fitting if pair)


def _ways(adapter: Adapter, places: Places) -> Ways:
    """Which way round the factors of an adapter are, by those of its pairs that fit in one way alone."""
    found: dict[bool, set[bool]] = {False: set(), True: set()}
    for part in adapter.fused:
        for parameter in part.parameters:
            both = _both(part, parameter)
            fits = [_fits(f"{part.module}.{parameter}", pair, places) for pair in both or ()]
            if fits.count(None) == 1:
                transposed = next(fit for fit in fits if fit is not None)
                found[transposed].add(fits[0] is None)
    return {transposed: told.pop() for transposed, told in found.items() if len(told) == 1}


def _in_order(choice: Choice) -> bool:
    """Whether the innermost pair is of the parameter that transformers registers first."""
    names = [name.rpartition(".")[2] for name, _ in choice]
    return names == [name for name in _REGISTERED if name in names]


class _Both(NamedTuple):
    """A pair as one of a parameter, in both ways: lora_A has its columns, or its rows."""

    straight: Pair
    turned: Pair


def _both(part: Fused, parameter: str) -> _Both | None:
    """None where its rank is not that of the parameter; for a parameter that is one matrix there is one way, given twice."""
    rank, scale = part.parameters[parameter]
    count, rest = divmod(part.a.shape[0], rank)
    if rest or part.b.shape[1] != part.a.shape[0]:
        return None
    if count == 1:
        straight = Pair(part.a, part.b, scale, None, part.files, True)
        return _Both(straight, straight)
    rows, columns = part.b.shape[0], part.a.shape[1]
    a = reshape(part.a, (count, rank, columns))
    b = reshape(transpose(reshape(part.b, (rows * rank, count))), (count, rows, rank))
    return _Both(
        Pair(a, b, scale, None, part.files, True), Pair(transpose(b), transpose(a), scale, None, part.files, True)
    )


def _fitting(part: Fused, parameter: str, version: str, ways: Ways, places: Places) -> tuple[str, Pair] | None:
    """The pair as one of a parameter, where its shape is the model's."""
    name = f"{part.module}.{parameter}"
    both = _both(part, parameter) if parameter in part.parameters else None
    if both is None:
        return None
    straight, turned = (_fits(name, pair, places) for pair in both)
    if straight is not None and turned is not None and both.straight is not both.turned:
        chosen = both.turned if _is_turned(name, straight, version, ways) else both.straight
        return name, chosen
    return (name, both.straight) if straight is not None else (name, both.turned) if turned is not None else None


def _is_turned(name: str, transposed: bool, version: str, ways: Ways) -> bool:
    """Whether lora_A has the rows of a parameter that it fits both ways round. Raises Error where nothing tells."""
    if transposed in ways:
        return ways[transposed]
    if (said := _version(version)) is None:
        raise Error(
            f"the factors of '{shown(name)}' fit both ways round, and the configuration does not say which PEFT wrote them",
            path="adapter_config.json",
            facts=[("expected", 'peft_version, such as "0.21.2"')],
            hint="add the version of PEFT that the adapter was saved with",
        )
    if transposed and said >= _TURNS:
        raise Error(
            f"the factors of '{shown(name)}' fit both ways round, which depends on the transformers that it was trained with",
            hint="train gate_up_proj as well, whose shape tells; or merge the adapter with PEFT (merge_and_unload), and name the merged "
            "folder in FROM",
        )
    return said < _SINCE


def _fits(name: str, pair: Pair, places: Places) -> bool | None:
    """None where a pair does not fit a parameter; else whether the checkpoint has that transposed."""
    try:
        made = places.symbols({name: pair.shape})
    except Error:
        return None
    if not all(gguf in places.entries and places.entries[gguf].shape == x.shape for gguf, x in made):
        return None
    return any(_turns(x) for _, x in made)


def _turns(x: object) -> bool:
    return getattr(x, "operation", "") == "transpose" or any(map(_turns, getattr(x, "operands", ())))


def _version(text: str) -> tuple[int, int, int] | None:
    found = re.match(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


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
