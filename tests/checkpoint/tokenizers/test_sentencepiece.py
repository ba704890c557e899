"""Pieces of a tokenizer.model."""

from __future__ import annotations

import pytest

from modelbuild.checkpoint.tokenizers import sentencepiece
from modelbuild.errors import Error
from tests import checkpoints


def test_pieces_are_read_in_the_order_of_their_ids() -> None:
    found = sentencepiece.pieces(checkpoints.pieces(270))
    assert len(found) == 270
    assert found[0] == (b"<unk>", 0.0, sentencepiece.UNKNOWN)
    assert found[3 + 0xAB] == (b"<0xAB>", 0.0, sentencepiece.BYTE)
    assert found[-1].text.startswith("\u2581".encode()) and found[-1].score == -10.0


@pytest.mark.parametrize(
    "data", [b"", b"\x0a", b"\x0a\xff", b"\x0a\x02\x0a\x00", b"\x0b", b"\xff" * 20, b"{}", checkpoints.pieces()[:-9]]
)
def test_what_is_no_model_is_said(data: bytes) -> None:
    with pytest.raises(Error, match="tokenizer.model: is not a SentencePiece model"):
        sentencepiece.pieces(data)
