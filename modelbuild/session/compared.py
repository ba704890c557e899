"""Two built models side by side: what differs in their layers, texts, parameters, metadata and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from modelbuild.checkpoint import ggufs
from modelbuild.checkpoint.ggufs import Told
from modelbuild.errors import Error
from modelbuild.files import reason
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library, Served
from modelbuild.session.layers import Texts
from modelbuild.tensors import file_digest
from modelbuild.tensors.formats import gguf
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from modelbuild.engine.cache import LocalCache
    from modelbuild.tensors.tensor import Shape, Tensor, TensorTable

SHORT_LIST = 8
"""Items of a list of metadata that is told whole; of a longer one its length."""


class Side(NamedTuple):
    """A model: a name of a models folder, or a GGUF file alone, which has neither `library` nor `served`."""

    title: str
    weights: str | None
    library: Library | None = None
    served: Served | None = None

    @staticmethod
    def named(title: str, library: Library, served: Served) -> Side:
        blob = served.model_blob
        return Side(title, library.blob_path(blob) if blob else None, library, served)

    @property
    def blob(self) -> str:
        """The digest of its GGUF, if it is a name's."""
        return (self.served.model_blob or "") if self.served else ""

    def data(self) -> dict[str, Any]:
        found = self.served
        return {
            "name": self.title,
            "path": self.weights,
            "manifest": found.digest if found else None,
            "size_bytes": found.size if found else None,
        }


class Difference(NamedTuple):
    """A value that differs; None where a side does not have it."""

    key: str
    before: Any
    after: Any


class LayerDifference(NamedTuple):
    """A layer of which the sides have another one, or none; `told`: what the files of both say of themselves, beside the model's."""

    kind: str
    before: manifest.Layer | None
    after: manifest.Layer | None
    told: tuple[Told, Told] = (Told(), Told())

    def data(self) -> dict[str, Any]:
        sides = zip(("before", "after"), (self.before, self.after), self.told, strict=True)
        return {"kind": self.kind, **{side: _layer(layer, told) for side, layer, told in sides}}


class Held(NamedTuple):
    """A tensor as a side has it. Its digest is known only if that of the other side had to be compared with it."""

    type: str
    shape: Shape
    bytes: int
    digest: str | None

    def data(self) -> dict[str, Any]:
        return {"type": self.type, "shape": list(self.shape), "bytes": self.bytes, "digest": self.digest}


class TensorDifference(NamedTuple):
    """A tensor that is another one, or is only on one side."""

    name: str
    before: Held | None
    after: Held | None

    def data(self) -> dict[str, Any]:
        sides = {"before": self.before, "after": self.after}
        return {"name": self.name, **{side: held.data() if held else None for side, held in sides.items()}}


class Total(NamedTuple):
    """The tensors of a type: how many, and their bytes."""

    tensors: int = 0
    bytes: int = 0


class Tensors(NamedTuple):
    """The tensors of both sides: how many are equal, those that are not, and by type what each side has."""

    equal: int
    different: Sequence[TensorDifference]
    types: Mapping[str, tuple[Total, Total]]

    def data(self) -> dict[str, Any]:
        return {
            "equal": self.equal,
            "different": [each.data() for each in self.different],
            "types": [
                {"type": name, "before": before._asdict(), "after": after._asdict()}
                for name, (before, after) in self.types.items()
            ],
        }


class Compared(NamedTuple):
    """All that differs between two models. `same` names the values that both have, and that are equal."""

    before: Side
    after: Side
    layers: Sequence[LayerDifference]
    values: Sequence[Difference]
    same: Sequence[str]
    tensors: Tensors | None

    @property
    def equal(self) -> bool:
        return not (self.layers or self.values or (self.tensors and self.tensors.different))

    def data(self) -> dict[str, Any]:
        return {
            "before": self.before.data(),
            "after": self.after.data(),
            "equal": self.equal,
            "layers": [each.data() for each in self.layers],
            "values": [each._asdict() for each in self.values],
            "tensors": self.tensors.data() if self.tensors else None,
        }


def compare(before: Side, after: Side, cache: LocalCache | None) -> Compared:
    """Compare two models. Of tensors only those are read that may be equal, and whose digests the cache does not know.

    A GGUF file has tensors and metadata: of a name, nothing else is compared with one. Raises Error.
    """
    layers = list(_layers(before, after)) if before.served and after.served else []
    is_same_file = before.weights == after.weights or bool(before.blob and before.blob == after.blob)
    tables = [_table(side) for side in ((before,) if is_same_file else (before, after))]
    values: list[Difference] = []
    same: list[str] = []
    if before.served and after.served:
        ours, theirs = _values(before), _values(after)
        values = list(_differing(ours, theirs))
        same = [key for key in ours if key in theirs and ours[key] == theirs[key]]
    first, last = tables[0], tables[-1]
    tensors = None
    if first is not None and last is not None:
        values += _metadata(first.metadata, last.metadata)
        tensors = _tensors((before, first), (after, last), cache)
    elif first is not last:
        values.append(Difference("GGUF file", *("yes" if table else None for table in (first, last))))
    return Compared(before, after, layers, values, same, tensors)


def _layer(layer: manifest.Layer | None, told: Told) -> dict[str, Any] | None:
    if layer is None:
        return None
    of_file = {"type": told.type, "projector_types": list(told.projectors)} if told != Told() else {}
    return {"digest": layer.digest, "size": layer.size, "from": layer.from_, **of_file}


def _told(side: Side, layer: manifest.Layer | None) -> Told:
    if layer is None or side.library is None or layer.media_type not in manifest.BESIDE:
        return Told()
    return ggufs.told(side.library.blob_path(layer.digest))


def _layers(before: Side, after: Side) -> Iterator[LayerDifference]:
    """The layers that differ, the first of a kind beside the first."""
    sides: list[dict[str, list[manifest.Layer]]] = []
    for served in (before.served, after.served):
        assert served is not None
        kinds: dict[str, list[manifest.Layer]] = {"config": [served.manifest.config]}
        for layer in served.manifest.layers:
            kinds.setdefault(layer.media_type.rpartition(".")[2], []).append(layer)
        sides.append(kinds)
    ours, theirs = sides
    for kind in dict.fromkeys([*ours, *theirs]):
        for one, other in zip_longest(ours.get(kind, ()), theirs.get(kind, ())):
            # Who a layer is from says nothing of what it is.
            if (one and one.digest) != (other and other.digest):
                yield LayerDifference(kind, one, other, (_told(before, one), _told(after, other)))


def _values(side: Side) -> dict[str, Any]:
    """All that the texts and the config of a model say, by name."""
    assert side.library is not None
    assert side.served is not None
    texts = Texts(side.library, side.served)
    found: dict[str, Any] = {}
    for key, media_type in (("template", manifest.TEMPLATE), ("system", manifest.SYSTEM)):
        found[key] = texts.text(media_type)
    found["license"] = texts.texts(manifest.LICENSE) or None
    found["messages"] = [{"role": role, "content": content} for role, content in texts.messages()] or None
    found |= {f"parameter {key}": value for key, value in sorted(texts.parameters().items())}
    found |= {f"config {key}": value for key, value in sorted(texts.config().items())}
    return {key: value for key, value in found.items() if value is not None}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield Difference(key, before.get(key), after.get(key))


def _metadata(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Iterator[Difference]:
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key), after.get(key)
        if one == other:
            continue
        first, last = _value(one), _value(other)
        if one is not None and other is not None and first == last:
            count = _differing_items(one, other)
            more = f"{count:,} differ" if count else gguf.type_name(other)
            first, last = first if count else f"{first} ({gguf.type_name(one)})", f"{last} ({more})"
        yield Difference(f"metadata {key}", first, last)


def _differing_items(one: bytes, other: bytes) -> int:
    ours, theirs = gguf.decode_value(one), gguf.decode_value(other)
    return sum(a != b for a, b in zip(ours, theirs, strict=True)) if isinstance(ours, list) else 0


def _value(data: bytes | None) -> Any:
    """A value of metadata; of a long list its length."""
    value = None if data is None else gguf.decode_value(data)
    if data is None or not isinstance(value, list) or len(value) <= SHORT_LIST:
        return value
    return f"list of {len(value):,} {gguf.type_name(data).strip('[]')}"


def _table(side: Side) -> TensorTable | None:
    if side.weights is None:
        return None
    try:
        return gguf.table(side.weights)
    except OSError as error:
        raise Error(f"cannot be read: {reason(error)}", path=side.weights) from None


def _tensors(before: tuple[Side, TensorTable], after: tuple[Side, TensorTable], cache: LocalCache | None) -> Tensors:
    ours, theirs = before[1].tensors, after[1].tensors
    names = list(dict.fromkeys([*ours, *theirs]))
    different = []
    if ours is not theirs:
        alike = [name for name in names if name in ours and name in theirs and _form(ours[name]) == _form(theirs[name])]
        known, found = (_digests(side, table, alike, cache) for side, table in (before, after))
        for name in names:
            if name not in known or known[name] != found[name]:
                one, other = _held(ours.get(name), known), _held(theirs.get(name), found)
                different.append(TensorDifference(name, one, other))
    totals = [_totals(tensors.values()) for tensors in (ours, theirs)]
    types = {kind: (totals[0].get(kind, Total()), totals[1].get(kind, Total())) for kind in {**totals[0], **totals[1]}}
    return Tensors(len(names) - len(different), different, types)


def _form(tensor: Tensor) -> tuple[str, Shape, int]:
    return tensor.dtype, tensor.shape, tensor.length


def _held(tensor: Tensor | None, digests: Mapping[str, str]) -> Held | None:
    return Held(tensor.dtype, tensor.shape, tensor.length, digests.get(tensor.name)) if tensor else None


def _totals(tensors: Iterable[Tensor]) -> dict[str, Total]:
    found: dict[str, Total] = {}
    for tensor in tensors:
        before = found.get(tensor.dtype, Total())
        found[tensor.dtype] = Total(before.tensors + 1, before.bytes + tensor.length)
    return found


def _digests(side: Side, table: TensorTable, names: Iterable[str], cache: LocalCache | None) -> dict[str, str]:
    """The digests of tensors: from the index if it knows them, else from their bytes."""
    indexed = cache.index.ranges(side.blob) if cache is not None and side.blob else {}
    found: dict[str, str] = {}
    unknown: list[Tensor] = []
    for tensor in (table.tensors[name] for name in names):
        at = indexed.get(tensor.offset)
        if at is not None and at.length == tensor.length:
            found[tensor.name] = at.xxh3
        else:
            unknown.append(tensor)
    if unknown:
        assert side.weights is not None
        read = file_digest.of_tensors(side.weights, unknown)
        found |= {tensor.name: read[tensor.offset, tensor.length] for tensor in unknown}
    return found
