"""SentencePiece models: the pieces of a tokenizer.model, read from its protobuf."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of pieces (sentencepiece_model.proto, SentencePiece.Type); llama.cpp's token types are the same numbers."""

_FLOAT = struct.Struct("<f")


PIECES_LIMIT = 1 << 20
"""Fields of a model, nearly all of them pieces. The largest real ones have a quarter of a million."""
PARTS_LIMIT = 100
"""Fields of a piece, of which there are three."""


class Piece(NamedTuple):
    """text: in UTF-8, never empty; type: NORMAL to BYTE."""

    text: bytes
    score: float
    type: int


class Model(NamedTuple):
    """A whole model.

    pieces    in the order of their ids
    kind      UNIGRAM, or another number (TrainerSpec.ModelType)
    prefix    whether a text gets a space before it
    squeezed  whether spaces beyond one are left out
    charsmap  the table of characters, and what takes their place; empty: none
    """

    pieces: list[Piece]
    kind: int
    prefix: bool
    squeezed: bool
    charsmap: bytes


UNIGRAM = 1


def pieces(data: bytes, path: str = "tokenizer.model") -> list[Piece]:
    """The pieces of a model, in the order of their ids. Raises Error for what is no model."""
    return read(data, path).pieces


def read(data: bytes, path: str) -> Model:
    """A model. Raises Error for what is none."""
    try:
        found: list[Piece] = []
        trainer: dict[int, int | bytes] = {}
        normalizer: dict[int, int | bytes] = {}
        for field, value in _fields(data, PIECES_LIMIT):
            if field == 1 and isinstance(value, bytes):
                found.append(_piece(value))
            elif field == 2 and isinstance(value, bytes):
                trainer |= dict(_fields(value, PIECES_LIMIT))
            elif field == 3 and isinstance(value, bytes):
                normalizer |= dict(_fields(value, PARTS_LIMIT))
        if sum(piece.type == UNKNOWN for piece in found) != 1:
            raise ValueError("expected one unknown piece")
    except ValueError as error:
        raise Error(
            f"is not a SentencePiece model: {error}",
            path=path,
            hint="download it again; if it is of another kind, such as Llama 3's, remove it: tokenizer.json is read instead",
        ) from None
    kind, charsmap = trainer.get(3, UNIGRAM), normalizer.get(2, b"")
    return Model(
        found,
        kind if isinstance(kind, int) else 0,
        bool(normalizer.get(3, True)),
        bool(normalizer.get(4, True)),
        charsmap if isinstance(charsmap, bytes) else b"",
    )


def _piece(data: bytes) -> Piece:
    text, score, type_ = b"", 0.0, NORMAL
    for field, value in _fields(data, PARTS_LIMIT):
        if field == 1 and isinstance(value, bytes):
            text = value
        elif field == 2 and isinstance(value, bytes) and len(value) == 4:
            (score,) = _FLOAT.unpack(value)
        elif field == 3 and isinstance(value, int):
            type_ = value
    if not text or not NORMAL <= type_ <= BYTE:
        raise ValueError("it has a piece without text or of an unknown type")
    try:
        text.decode()
    except UnicodeDecodeError:
        raise ValueError("it has a piece that is not UTF-8") from None
    return Piece(text, score, type_)


def _fields(data: bytes, limit: int) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protobuf message: an int for a varint, bytes for all else."""
    at, end = 0, len(data)
    while at < end:
        limit -= 1
        if limit < 0:
            raise ValueError("it has more fields than any real model")
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = _varint(data, at - 1)
        wire = tag & 7
        if wire == 5:
            length = 4
        elif wire == 1:
            length = 8
        elif wire in (0, 2):
            length, at = _varint(data, at)
            if wire == 0:
                yield tag >> 3, length
                continue
        else:
            raise ValueError(f"it has a field of wire type {wire}")
        if length > end - at:
            raise ValueError("it ends early")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("it ends early")
