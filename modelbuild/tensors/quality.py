"""Quantization error: how far the values that a model stores lie from the weights they were made of.

Both are read a stretch of whole rows at a time, hashed as they are read, and compared as f32; sums are kept in f64. A tensor's
weights are read once, however many stored forms they are compared with.
"""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelbuild.digest import Xxh3, canonical, xxh3
from modelbuild.errors import Stopped
from modelbuild.tensors import packing, quants
from modelbuild.tensors.evaluate import Mismatch, Reader, Region
from modelbuild.tensors.lazy import np
from modelbuild.tensors.materialize import Resources
from modelbuild.tensors.recipe import Expression
from modelbuild.tuples import NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

VERSION = 1
"""Of the figures: those kept by another version count for nothing."""

CHUNK = 1 << 18
"""Elements that a thread reads at a time, where rows and memory allow."""

_STRETCH = 1 << 16
"""Elements of a partial sum. Fixed, so that figures do not depend on memory, threads, or what else is compared."""

_ROUNDINGS = ("quantize", "cast", "dequantize")


def origin(stored: Expression) -> Expression:
    """The weights that a stored tensor was made of: what stands below all its roundings."""
    while stored.operation in _ROUNDINGS:
        stored = stored.operands[0]
    return stored


def is_exact(stored: Expression) -> bool:
    """Whether no rounding changed a value: f32 holds every f16, bf16 and block format."""
    while stored.operation in _ROUNDINGS:
        if stored.dtype != "f32":
            return False
        stored = stored.operands[0]
    return True


class Sums(NamedTuple):
    """What is added up over the elements of a tensor: squares of the weights and of the errors, the largest error.

    signal is None where we cannot read values of the type, or where not all are finite; such a tensor was copied.
    """

    signal: float | None
    noise: float
    largest: float

    def encode(self) -> bytes:
        return json.dumps(self).encode()

    @staticmethod
    def decode(value: bytes) -> Sums:
        return Sums(*json.loads(value))


class Stored(NamedTuple):
    """A tensor as a model holds it: where its bytes lie, and their xxh3 (empty where they have been checked otherwise)."""

    expression: Expression
    region: Region
    xxh3: str


class Comparison(NamedTuple):
    """Weights, and the stored forms of them to be compared with them."""

    source: Expression
    stored: tuple[Stored, ...]

    @property
    def size(self) -> int:
        """Bytes to be read."""
        return self.source.size + sum(each.expression.size for each in self.stored)


def key(source: Expression, stored: Expression) -> str:
    """What the sums of a comparison are kept under."""
    return "quality:" + xxh3(canonical([VERSION, source.key, stored.key]))


def compare(
    comparisons: Iterable[Comparison],
    *,
    constants: Mapping[str, bytes],
    open_leaf: Callable[[str], Region],
    resources: Resources,
) -> Iterator[tuple[Comparison, list[Sums]]]:
    """Compare in parallel; yields each comparison as it is finished, with the sums of its stored forms.

    Raises Mismatch where bytes are not what their digest says, OSError where they cannot be read.
    """
    # The largest first: else the last thread computes it while the others have nothing left to do.
    ordered = sorted(comparisons, key=lambda each: -each.size)
    total = sum(each.size for each in ordered)
    done = 0
    mutex = threading.Lock()

    def progress(read: int) -> None:
        nonlocal done
        with mutex:
            done += read
            resources.progress(done, total)

    # An element under way takes at most 8 bytes as it is read, and 4 each as weight, as stored value and reordered.
    limit = min(CHUNK, resources.memory // (20 * resources.jobs))
    with Reader(resources.stop, constants, open_leaf, resources.memory) as reader:
        futures = {
            resources.pool.submit(_sums, each, reader, limit, resources.stop, progress): each for each in ordered
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            # Nobody may read on in files that are about to be closed.
            resources.stop.set()
            for future in futures:
                if not future.cancel():
                    future.exception()
            raise


def _sums(
    comparison: Comparison, reader: Reader, limit: int, stop: threading.Event, progress: Callable[[int], None]
) -> list[Sums]:
    source = comparison.source
    readable = not quants.is_carried(source.dtype)
    changed = [each for each in comparison.stored if not is_exact(each.expression)]
    signal = _Sum()
    noise = {each.expression.key: _Sum() for each in changed}
    if readable:
        total = math.prod(source.shape)
        unit = math.lcm(source.unit, 256)
        stretch = -(-_STRETCH // unit) * unit
        step = max(stretch, limit // stretch * stretch)
        with ExitStack() as stack:
            tapes = [(each, stack.enter_context(_Tape(each))) for each in changed]
            for first in range(0, total, step):
                if stop.is_set():
                    raise Stopped
                count = min(step, total - first)
                data = reader.evaluate(source, source.key, first, count)
                weights = _floats(source.dtype, data)
                signal.add(weights, None, stretch)
                for each, tape in tapes:
                    noise[each.expression.key].add(_floats(each.expression.dtype, tape.read(count)), weights, stretch)
                del weights
                reader.give_back(data)
                progress(sum(x.size for x in (source, *(each.expression for each in changed))) * count // total)
    squares = signal.value if readable and math.isfinite(signal.value) else None
    none = _Sum()
    found = [noise.get(each.expression.key, none) for each in comparison.stored]
    return [Sums(squares, each.value, each.largest) for each in found]


class _Sum:
    """A sum of squares and the largest magnitude, in f64."""

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._largest = 0.0

    def add(self, values: Floats, less: Floats | None, stretch: int) -> None:
        """Add the squares of `values`, less `less` where given; f32 arrays of one length, differences taken in f64."""
        for first in range(0, len(values), stretch):
            part = values[first : first + stretch].astype(np.float64)
            if less is not None:
                part -= less[first : first + stretch]
            part *= part
            self._parts.append(float(part.sum()))
            self._largest = max(self._largest, float(part.max()))

    @property
    def value(self) -> float:
        return math.fsum(self._parts)

    @property
    def largest(self) -> float:
        # The root of a rounded square is the number itself, in binary floating point.
        return math.sqrt(self._largest)


class _Tape:
    """Reads a stored tensor from its beginning to its end, and hashes along."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._quant = quants.get(stored.expression.dtype)
        self._at = 0
        self._hasher = Xxh3()

    def __enter__(self) -> _Tape:
        self._file = os.open(self._stored.region.path, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def read(self, count: int) -> bytes:
        """The next `count` elements. Raises Mismatch for an end too soon, and at the end for other bytes than expected."""
        region, digest = self._stored.region, self._stored.xxh3
        size = count // self._quant.block * self._quant.bytes
        data = os.pread(self._file, size, region.offset + self._at)
        self._at += size
        self._hasher.update(data)
        if len(data) != size or (digest and self._at == region.length and self._hasher.digest() != digest):
            raise Mismatch(region, digest)
        return data


def _floats(dtype: str, data: bytes | bytearray | memoryview) -> Floats:
    if dtype == "f32":
        return np.frombuffer(data, "<f4")
    quant = quants.get(dtype)
    values = np.empty(memoryview(data).nbytes // quant.bytes * quant.block, "<f4")
    # What checkpoints hold and no block format is: fp8, whole numbers.
    read = packing.dequantize if dtype in quants.names() else packing.widen
    read(dtype, data, values.data)
    return values


# Figures


@dataclass(frozen=True)
class Figures:
    """What is told of a tensor or of a whole model; `weights` is how many values the sums run over."""

    weights: int
    sums: Sums

    @property
    def rms_error(self) -> float:
        return math.sqrt(self.sums.noise / self.weights) if self.weights else 0.0

    @property
    def max_error(self) -> float:
        return self.sums.largest

    @property
    def source_rms(self) -> float | None:
        """Root mean square of the weights themselves."""
        signal = self.sums.signal
        return None if signal is None else math.sqrt(signal / max(1, self.weights))

    @property
    def snr_db(self) -> float | None:
        """10 log10 of the squares of the weights by those of the errors; None where there is no error, or only zeros."""
        signal, noise = self.sums.signal, self.sums.noise
        return 10 * math.log10(signal / noise) if signal and noise else None

    def data(self) -> dict[str, float | None]:
        return {
            "rms_error": self.rms_error,
            "max_error": self.max_error,
            "snr_db": self.snr_db,
            "source_rms": self.source_rms,
        }


@dataclass(frozen=True)
class MeasuredTensor:
    """A tensor of a model, and what storing it as it is stored cost."""

    name: str
    shape: tuple[int, ...]
    expression: Expression
    sums: Sums

    @property
    def weights(self) -> int:
        return math.prod(self.shape)

    @property
    def exact(self) -> bool:
        """Whether every value is the weight it was made of."""
        return not self.sums.largest

    @property
    def figures(self) -> Figures:
        return Figures(self.weights, self.sums)

    def data(self) -> dict[str, Any]:
        block, kind = place(self.name)
        return {
            "name": self.name,
            "block": block,
            "kind": kind,
            "type": self.expression.dtype,
            "source_type": origin(self.expression).dtype,
            "shape": list(self.shape),
            "weights": self.weights,
            "bytes": self.expression.size,
            "bits_per_weight": bits_per_weight(self.expression.size, self.weights),
            "exact": self.exact,
            **self.figures.data(),
        }


@dataclass(frozen=True)
class MeasuredModel:
    """A model that one or more variants serve, and what its quantization cost; `tensors` in file order."""

    label: str
    names: tuple[str, ...]
    ftype: str | None
    blob: str
    size: int
    tensors: tuple[MeasuredTensor, ...] = field(repr=False)
    divergence: Mapping[str, float] | None = None
    """What llama-perplexity found of its answers, where a gate asks for that: `kld` and others, as tools/divergence.py has them."""

    @property
    def figures(self) -> Figures:
        """Of all tensors of two or more dimensions: vectors are never quantized, and norms would drown the others' signal."""
        counted = [each for each in self.tensors if len(each.shape) > 1 or not each.exact]
        signals = [each.sums.signal for each in counted if each.sums.signal is not None]
        sums = Sums(
            math.fsum(signals),
            math.fsum(each.sums.noise for each in counted),
            max((each.sums.largest for each in counted), default=0.0),
        )
        return Figures(sum(each.weights for each in counted if each.sums.signal is not None), sums)

    def data(self) -> dict[str, Any]:
        """The model as `quality --json` has it."""
        weights = sum(each.weights for each in self.tensors)
        bytes_ = sum(each.expression.size for each in self.tensors)
        return {
            "label": self.label,
            "name": self.names[0],
            "names": list(self.names),
            "ftype": self.ftype,
            "model_blob": self.blob,
            "model_bytes": self.size,
            "tensor_bytes": bytes_,
            "weights": weights,
            "bits_per_weight": bits_per_weight(bytes_, weights),
            **self.figures.data(),
            "divergence": self.divergence,
            "tensors": [each.data() for each in self.tensors],
        }


def bits_per_weight(size: int, weights: int) -> float:
    return 8 * size / weights if weights else 0.0


def place(name: str) -> tuple[int | None, str]:
    """The block of a tensor, and its kind: `blk.3.attn_q.weight` is an `attn_q` in block 3."""
    match = re.fullmatch(r"(.*\.)?blk\.(\d+)\.(.+)", name)
    block, rest = (int(match[2]), (match[1] or "") + match[3]) if match else (None, name)
    return block, rest.removesuffix(".weight")


MEASURES = {"snr_db": "{:.2f}", "rms_error": "{:.3e}", "max_error": "{:.3e}", "bits_per_weight": "{:.2f}"}
"""The figures that are shown of tensors and models, and how they are rounded."""


def shown(values: Mapping[str, Any], measure: str) -> str:
    """A figure of a tensor's or model's `data` as people read it; an error of nothing is 'exact'."""
    value = values[measure]
    if measure != "bits_per_weight" and not values["max_error"]:
        return "exact"
    return "-" if value is None else MEASURES[measure].format(value)


def worst(tensors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The `data` of tensors by signal to noise, the lowest first; exact ones last, in file order."""
    return sorted(tensors, key=lambda each: math.inf if each["snr_db"] is None else each["snr_db"])
