"""An adapter in the weights: the recipe of a model with all that the adapter changes, each tensor rounded to the type that it had."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from modelbuild.checkpoint.adapters import activated, tokens
from modelbuild.checkpoint.adapters.adapter import Adapter, Pair
from modelbuild.checkpoint.adapters.checked import check, check_architecture, check_shape, lacking
from modelbuild.checkpoint.adapters.factors import Factors
from modelbuild.checkpoint.adapters.layer import placed
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors import quants
from modelbuild.tensors.ftypes import FLOATS
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.dequantize import dequantize
from modelbuild.tensors.operations.lengthen import lengthen
from modelbuild.tensors.operations.merge import merge
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.replace_rows import replace_rows
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from modelbuild.tensors.tensor import UNREAD
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed, plural, shown

Change = Callable[[Expression], Expression]


class Merged(NamedTuple):
    """The recipe of a model that an adapter was merged into, and what is doubtful about it."""

    recipe: Recipe
    doubts: list[Error]


def recipe(
    base: Recipe, adapter: Adapter, described: Checkpoint, *, scale: float, requantize: bool, unpacked: bool = False
) -> Merged:
    """The recipe of a model that an adapter is merged into.

    described   the small files of the adapter, its tokenizer among them
    scale       a factor of the user's on what is added
    requantize  whether tensors that are quantized already are unpacked, changed and packed again
    unpacked    whether they are left in f32, for a quantization that follows to round them once
    Raises Error where the adapter does not fit the model.
    """
    activated.refuse_merge(adapter)
    places = Places(base)
    check_architecture(adapter.placed, places)
    metadata, doubts = tokens.over(base.metadata, adapter, described, places)
    places.with_tokens(metadata)
    found = changed(base, adapter, places, scale=scale, requantize=requantize, unpacked=unpacked)
    made = Recipe(metadata, list(found.entries.values()), {**base.constants, **found.constants})
    return Merged(made, [*doubts, *_twice(base, made, unpacked)])


class Changed(NamedTuple):
    """The tensors of a model that an adapter was merged into, and the bytes of leaves that no file holds."""

    entries: Mapping[str, Entry]
    constants: Mapping[str, bytes]


def changed(
    base: Recipe, adapter: Adapter, places: Places, *, scale: float, requantize: bool = False, unpacked: bool = False
) -> Changed:
    """Change the tensors of `places`, which are those of a recipe. Raises Error where the adapter does not fit them."""
    if places.output not in places.entries:
        adapter = _tied(adapter, places)
    merging = _Merging(base, places, requantize, unpacked)
    merging.replace(adapter, scale)
    pairs, constants = placed(adapter, places)
    if places.output in pairs and places.output not in places.entries and places.embedding in places.entries:
        merging.untie()
    check(pairs, places, scale)
    for name, pair in pairs.items():
        merging.change(name, _added(pair, scale))
    merging.add_biases(adapter, scale)
    _check_rows(places)
    return Changed(places.entries, {**constants, **merging.constants})


def _tied(adapter: Adapter, places: Places) -> Adapter:
    """Without an output that is the embedding once more: PEFT saves both where the vocabulary has grown (save_embedding_layers).

    Before the values are read, that is believed of a model that has no place for an output.
    """
    whole = {**adapter.whole, **{name: rows.values for name, rows in adapter.rows.items()}}
    outputs = [name for name in whole if name.endswith("lm_head.weight")]
    again = {
        output
        for output in outputs
        for embedding in [output.replace("lm_head", other) for other in ("model.embed_tokens", "embed_tokens")]
        if (x := whole.get(embedding)) and (x == whole[output] or (_is_unread(x) and not places.knows(output, x)))
    }
    return replace(
        adapter,
        whole={name: x for name, x in adapter.whole.items() if name not in again},
        rows={name: rows for name, rows in adapter.rows.items() if name not in again},
    )


def _is_unread(x: Expression) -> bool:
    return any(leaf.digest.startswith(UNREAD) for leaf in x.leaves())


def _check_rows(places: Places) -> None:
    """Raise Error where embedding and output do not have as many rows."""
    entries, embedding, output = places.entries, places.embedding, places.output
    if output in entries and embedding in entries and entries[output].shape[0] != entries[embedding].shape[0]:
        rows = [f"{entries[name].shape[0]:,} rows" for name in (embedding, output)]
        raise Error(
            "the adapter brings an embedding for other tokens, and the model's output has none for them",
            facts=list(zip((embedding, output), rows, strict=True)),
            hint="save the adapter with both, embed_tokens and lm_head in modules_to_save",
        )


def _twice(base: Recipe, made: Recipe, unpacked: bool) -> list[Error]:
    """A warning of tensors that are quantized a second time."""
    before = {entry.name: entry.expression for entry in base.tensors}
    twice = [
        entry.name
        for entry in made.tensors
        if (old := before.get(entry.name))
        and old != entry.expression
        and old.dtype not in FLOATS
        and old.operation != "quantize"
    ]
    if not twice:
        return []
    types = Counter(before[name].dtype for name in twice)
    return [
        Error(
            f"{plural(len(twice), 'tensor')} of the model {'is' if len(twice) == 1 else 'are'} quantized a second time, "
            "which adds to the error",
            facts=[
                ("from", ", ".join(f"{count} {dtype}" for dtype, count in types.most_common())),
                ("to", "the type of this model, in one rounding" if unpacked else "the same types again"),
                ("tensors", listed(twice, 6)),
            ],
            hint="merge the adapter into the weights that the model was quantized from, where you have them",
        )
    ]


def _added(pair: Pair, scale: float) -> Change:
    if pair.magnitude is None:
        return lambda x: merge(x, pair.a, pair.b, pair.scale * scale, rounded=pair.rounded)
    lengths = pair.magnitude

    def change(x: Expression) -> Expression:
        added = merge(x, pair.a, pair.b, pair.scale * scale)
        if pair.columns:
            return transpose(lengthen(transpose(added), lengths))
        rows = (prod(added.shape[:-1]), added.shape[-1])
        return reshape(lengthen(reshape(added, rows), reshape(lengths, rows[:1])), added.shape)

    return change


def _is_made(x: Expression) -> bool:
    """Whether a tensor is another's values in a type that is not that of the model's own files."""
    if x.operation not in ("cast", "quantize") or x.operands[0].dtype not in FLOATS:
        return False
    own = x.operands[0]
    while own.operation in ("merge", "lengthen", "reshape", "transpose"):
        own = own.operands[0]
    return x.dtype != own.dtype


_AGAIN = (
    "; or say allow_requantize = true: each tensor that the adapter changes is then quantized a second time, "
    "which adds to its error"
)


class _Merging:
    """The tensors of a model while they are changed."""

    def __init__(self, base: Recipe, places: Places, requantize: bool, unpacked: bool) -> None:
        self._base = base
        self._places = places
        self._entries = places.entries
        self._requantize = requantize
        self._unpacked = unpacked
        self.constants: dict[str, bytes] = {}

    def change(self, name: str, change: Change) -> None:
        """Change a tensor that is there; it keeps its type."""
        entry = self._entries[name]
        self._entries[name] = Entry(name, entry.shape, self._changed(entry, change))

    def _changed(self, entry: Entry, change: Change) -> Expression:
        x = entry.expression
        if x.dtype in FLOATS or (x.operation == "quantize" and x.operands[0].dtype in FLOATS):
            return self._rounded(x, change)
        # The scale of a tensor in NVFP4 stands beside it.
        if not quants.is_carried(x.dtype) and x.dtype != "nvfp4" and self._requantize:
            made = self._shaped(change, dequantize(x))
            return made if self._unpacked else quantize(x.dtype, made)
        raise Error(
            f"the model's '{entry.name}' is quantized ({x.dtype}), and the adapter changes it",
            parameter=["requantize"],
            facts=[("expected", "f32, f16 or bf16"), ("got", x.dtype)],
            hint="merge it into the weights that the model was quantized from" + ("" if x.dtype == "nvfp4" else _AGAIN),
        )

    def _rounded(self, x: Expression, change: Change) -> Expression:
        """Changed floats, rounded to the type that they have in the model's own files, whatever is made of them after that.

        Each adapter rounds (PEFT, Linear.merge): two at once are the second merged into what the first has made.
        """
        if _is_made(x):
            return quantize(x.dtype, self._rounded(x.operands[0], change), *x.operands[1:])
        return cast(x.dtype, self._shaped(change, x))

    @staticmethod
    def _shaped(change: Change, x: Expression) -> Expression:
        """Changed in the shape without leading ones that factors have."""
        shape = x.shape
        while len(shape) > 2 and shape[0] == 1:
            shape = shape[1:]
        return reshape(change(reshape(x, shape)), x.shape)

    def untie(self) -> None:
        """Give a model whose output is its embedding an output of its own, the same at first."""
        entry, output = self._entries[self._places.embedding], self._places.output
        others = dict(self._entries)
        self._entries.clear()
        self._entries[output] = Entry(output, entry.shape, entry.expression)
        self._entries.update(others)

    def replace(self, adapter: Adapter, scale: float) -> None:
        """Put the adapter's whole tensors and rows in place of the model's."""
        if scale != 1 and (given := [*adapter.whole.keys() - adapter.copies, *adapter.rows]):
            raise Error(
                "the adapter has whole tensors, which no scale makes smaller",
                facts=[("tensors", listed(map(shown, given), 6))],
                hint="leave out its scale",
            )
        whole, embedding, output = adapter.whole, self._places.embedding, self._places.output
        for name, x in whole.items() if adapter.placed else self._places.of(whole) if whole else ():
            if name == output and name not in self._entries and embedding in self._entries:
                self.untie()
            if name not in self._entries:
                raise lacking([name], self._places)
            if foreign := [leaf.digest for leaf in x.leaves() if not leaf.digest.startswith(("xxh3:", UNREAD))]:
                raise Error(
                    f"the adapter replaces some experts of '{name}' and not others, which is not supported yet",
                    facts=[("not replaced", listed(map(shown, foreign), 6))],
                )
            if name not in (embedding, output) or x.shape[1:] != self._entries[name].shape[1:]:
                check_shape(name, x.shape, self._places, ())
            shape = x.shape if name in (embedding, output) else self._entries[name].shape
            self._entries[name] = Entry(name, shape, self._retyped(self._entries[name], reshape(x, shape)))
        for source, rows in adapter.rows.items():
            ((name, _),) = self._places.symbols({source: (1, rows.values.shape[1])})
            if name not in self._entries:
                raise lacking([name], self._places)
            entry = self._entries[name]
            if rows.values.shape[1] != entry.shape[1] or max(rows.indices) >= entry.shape[0]:
                raise Error(
                    f"the adapter's new rows do not fit the model's '{name}'",
                    facts=[
                        ("the model", f"{list(entry.shape)}"),
                        ("the adapter", f"{list(rows.values.shape)}, up to row {max(rows.indices):,}"),
                    ],
                    hint="the adapter is another model's, or its tokens were added to the model",
                )
            values, indices = rows.values, rows.indices
            self.change(name, lambda x, values=values, indices=indices: replace_rows(x, values, indices))  # type: ignore[misc]

    def _retyped(self, entry: Entry, x: Expression) -> Expression:
        """A tensor in place of another, in the type that this has and by the same roundings."""
        old, types = entry.expression, [entry.expression]
        while _is_made(old):
            old = old.operands[0]
            types.append(old)
        if types[-1].dtype not in FLOATS and types[-1].operation == "leaf":
            self._changed(entry, lambda same: same)  # says that it is quantized, unless that is allowed
            types = types[:-1] if self._unpacked else types
        for each in reversed(types):
            x = quantize(each.dtype, x, *(each.operands[1:] if each.operation == "quantize" else ()))
        return x

    def add_biases(self, adapter: Adapter, scale: float) -> None:
        """Add what the factors' own bias adds to the model's."""
        found = self._places.of({name: x for name, (x, _) in adapter.biases.items()}) if adapter.biases else []
        scales: Mapping[str, float] = {
            leaf.digest: factor for x, factor in adapter.biases.values() for leaf in x.leaves()
        }
        missing = [name for name, _ in found if name not in self._entries]
        if missing:
            raise lacking(missing, self._places)
        factors = Factors({})
        one = factors.constant("f32", (1, 1), struct.pack("<f", 1.0))
        for name, x in found:
            check_shape(name, x.shape, self._places, ())
            factor = next(scales[leaf.digest] for leaf in x.leaves()) * scale
            row = reshape(x, (1, *x.shape))
            self.change(name, lambda old, row=row, factor=factor: merge(old, row, one, factor))  # type: ignore[misc]
        if found:
            self.constants |= factors.constants
