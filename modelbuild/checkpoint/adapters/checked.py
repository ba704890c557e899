"""Whether what an adapter changes is there in the model, and of its shape."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import inf

from modelbuild.checkpoint.adapters.adapter import Pair
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.errors import Error
from modelbuild.tensors.ftypes import block_of
from modelbuild.tensors.tensor import Shape
from modelbuild.words import listed, plural, shown


def check(pairs: Mapping[str, Pair], places: Places, scale: float) -> None:
    """Raise Error for pairs that change nothing, and for those whose matrix the model lacks or has in another shape.

    scale  a factor of the user's
    """
    if nothing := [shown(pair.files[0]) for pair in pairs.values() if not 0 < abs(_f32(pair.scale * scale)) < inf]:
        factor = next(pair.scale * scale for pair in pairs.values() if not 0 < abs(_f32(pair.scale * scale)) < inf)
        raise Error(
            f"the adapter {'changes nothing' if abs(factor) < 1 else 'changes all beyond measure'}: "
            f"the factor of its product, by alpha and scale, is {factor:g}",
            facts=[("tensors", listed(nothing, 6)), ("expected", "a number that f32 can hold, other than 0")],
            hint="the configuration beside it is not this adapter's, or it was not trained",
        )
    missing = [name for name in pairs if name not in places.entries]
    if missing:
        raise lacking(missing, places)
    for name, pair in pairs.items():
        check_shape(name, pair.shape, places, pair.files)


def check_magnitudes(pairs: Mapping[str, Pair]) -> None:
    """Raise Error where a DoRA does not have a magnitude for each row of its matrix, or for each column."""
    for pair in pairs.values():
        if pair.magnitude is not None and pair.magnitude.shape != (
            pair.shape[-1:] if pair.columns else pair.shape[:-1]
        ):
            raise Error(
                f"the magnitude of '{shown(pair.files[0])}' does not fit its matrix",
                facts=[("the matrix", f"{list(pair.shape)}"), ("the magnitude", f"{list(pair.magnitude.shape)}")],
                hint="the adapter is not whole: save it again",
            )


def check_architecture(placed: str, places: Places) -> None:
    """Raise Error where the tensors of an adapter are named for a model of another architecture."""
    if placed and placed != places.architecture:
        raise Error(
            f"the adapter is for models of the architecture '{shown(placed)}', and the model is '{places.architecture}'",
            hint="name the base that it was trained on in FROM",
        )


def lacking(names: list[str], places: Places) -> Error:
    """The error for tensors that the model does not have."""
    if places.predicts and all(block_of(name) == places.blocks for name in names):
        return Error(
            f"the adapter changes {plural(len(names), 'tensor')} of blocks for the prediction of several tokens, "
            "which the model does not have",
            facts=[
                ("tensors", listed(map(shown, names), 6)),
                ("the model", f"{places.architecture}, {places.blocks} blocks"),
            ],
            hint='mtp = "keep" leaves these blocks in the model, if its checkpoint has them; with mtp = "split" or "drop", say '
            'mode = "merge" of the adapter',
        )
    tied = names == ["output.weight"]
    return Error(
        f"the adapter changes {'the output matrix, which' if tied else plural(len(names), 'tensor') + ' that'} the model does not have",
        facts=[("tensors", listed(map(shown, names), 6)), ("the model", places.architecture)],
        hint='its output is its embedding, which the runtime cannot adapt apart: say mode = "merge", which makes it a tensor of its own'
        if tied
        else "the adapter is another model's; name the base that it was trained on in FROM",
    )


def check_shape(name: str, shape: Shape, places: Places, files: tuple[str, ...]) -> None:
    """Raise Error where the model has a tensor in another shape."""
    expected = places.entries[name].shape
    if _plain(expected) != _plain(shape):
        raise Error(
            f"the adapter does not fit the model's '{name}'",
            facts=[
                ("the model", f"{list(expected)}"),
                ("the adapter", f"{list(shape)}"),
                *([("tensors", listed(map(shown, files), 6))] if files else []),
            ],
            hint="the factors are transposed; save the adapter again"
            if _plain(expected) == _plain((*shape[:-2], *shape[:-3:-1]))
            else "the adapter is another model's; name the base that it was trained on in FROM",
        )


def _f32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return inf


def _plain(shape: Shape) -> Shape:
    """Without leading ones, which a file may leave out."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape
