"""Unigram vocabularies, as XLM-RoBERTa has them: pieces with scores, and a table by which text is normalized.

Source: llama.cpp conversion, BertModel._xlmroberta_set_vocab
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Any

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.shards import PIECES
from modelbuild.checkpoint.tokenizers import sentencepiece
from modelbuild.checkpoint.tokenizers.fast import FILE, FastTokenizer, content
from modelbuild.checkpoint.tokenizers.library import CHARSMAP_LIMIT, flattened
from modelbuild.checkpoint.tokenizers.sentencepiece import CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from modelbuild.checkpoint.tokenizers.special import special_tokens
from modelbuild.checkpoint.tokenizers.vocabulary import PAD_SCORE, SIZE_LIMIT, tables
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

MASK = 250001
"""The id of `<mask>` in models whose SentencePiece model lacks it."""


class _Read(NamedTuple):
    """A vocabulary as its file has it.

    tokens     text, score and type of each
    prefix     whether a text gets a space before it
    squeezed   whether spaces beyond one are left out
    charsmap   the table of characters, and what takes their place; empty: none
    """

    tokens: list[tuple[bytes, float, int]]
    prefix: bool
    squeezed: bool
    charsmap: bytes


def unigram(checkpoint: Checkpoint, size: int | None, token_types: int, *, mask: bool = False) -> Values:
    """The vocabulary of sentencepiece.bpe.model, or else of tokenizer.json, filled up to `size` tokens (None: as many as it has).

    token_types  kinds of segments of which the model has an embedding
    mask         whether `<mask>` is added to a SentencePiece model
    """
    data = checkpoint.read(PIECES)
    found = _of_tokenizer(checkpoint) if data is None else _of_model(data)
    count = max(size or 0, len(found.tokens))
    tokens = found.tokens + [(b"[PAD%d]" % number, PAD_SCORE, UNUSED) for number in range(len(found.tokens), count)]
    if data is not None:
        # transformers has four tokens of its own in the place of the model's three.
        start = [(b"<s>", 0.0, CONTROL), (b"<pad>", 0.0, CONTROL), (b"</s>", 0.0, CONTROL), (b"<unk>", 0.0, UNKNOWN)]
        tokens = [*start, *tokens[3:-1]]
        if mask and len(tokens) > MASK:
            tokens[MASK] = (b"<mask>", 0.0, CONTROL)
    texts, scores, types = zip(*tokens, strict=True)
    values = tables("t5", "default", texts, types, scores)
    values["tokenizer.ggml.add_space_prefix"] = encode_value("bool", found.prefix)
    values["tokenizer.ggml.token_type_count"] = encode_value("u32", token_types)
    values["tokenizer.ggml.remove_extra_whitespaces"] = encode_value("bool", found.squeezed)
    if found.charsmap:
        values["tokenizer.ggml.precompiled_charsmap"] = encode_value("[u8]", found.charsmap)
    return values | special_tokens(checkpoint, count=count)


def _of_model(data: bytes) -> _Read:
    model = sentencepiece.read(data, PIECES)
    if model.kind != sentencepiece.UNIGRAM:
        raise Error(
            f"expected a Unigram model (model_type 1), got model_type {model.kind}",
            path=PIECES,
            hint="the file belongs to another model; if it is removed, tokenizer.json is read instead",
        )
    if len(model.pieces) < 4:
        raise Error(f"expected at least 4 pieces, got {len(model.pieces)}", path=PIECES)
    # Pieces that a user defined count as normal ones.
    kinds = [NORMAL if piece.type == USER_DEFINED else piece.type for piece in model.pieces]
    tokens = [(piece.text, piece.score, kind) for piece, kind in zip(model.pieces, kinds, strict=True)]
    return _Read(tokens, model.prefix, model.squeezed, _checked(model.charsmap, PIECES))


def _of_tokenizer(checkpoint: Checkpoint) -> _Read:
    loaded, data = FastTokenizer(checkpoint), checkpoint.json(FILE) or {}
    if loaded.kind != "Unigram":
        raise Error(
            f"expected a Unigram tokenizer, got {loaded.kind[:40]}, which llama.cpp's converter does not take for this class",
            path=FILE,
            hint="the tokenizer belongs to another model",
        )
    config = checkpoint.tokenizer_config
    added = {token.content: number for number, token in loaded.added.items()}
    unknown = added.get(str(content(config.get("unk_token"))), data["model"].get("unk_id", 3))
    special = {loaded.id_of(text) for text in loaded.special}
    if not 0 < len(loaded.vocabulary) <= SIZE_LIMIT:
        raise Error(f"expected 1 to {SIZE_LIMIT:,} tokens, got {len(loaded.vocabulary):,}", path=FILE)
    by_id = loaded.texts()
    tokens = []
    for number, score in enumerate(loaded.scores):
        text = by_id[number]
        kind = NORMAL
        if number == unknown:
            kind = UNKNOWN
        elif number in special:
            kind = CONTROL
        elif number in loaded.added:
            kind = USER_DEFINED
        tokens.append((_utf8(text), score, kind))
    prefix, squeezed = (bool(config.get(key, False)) for key in ("add_prefix_space", "clean_up_tokenization_spaces"))
    normalizer = data.get("normalizer")
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        # As transformers writes it of a SentencePiece model, whose flags these are; llama.cpp's converter makes no file of it.
        table = next((part for part in flattened(normalizer) if "precompiled_charsmap" in part), None)
        prefix = any(part.get("prepend_scheme") == "always" for part in flattened(data.get("pre_tokenizer")))
        squeezed = any(part.get("type") == "Replace" for part in flattened(normalizer))
        normalizer = table
    return _Read(tokens, prefix, squeezed, _charsmap(normalizer))


def doubts(checkpoint: Checkpoint) -> Iterator[Error]:
    """What the converter takes from other keys than those that the tokenizer is split by."""
    if checkpoint.read(PIECES) is not None:
        return
    config, normalizer = checkpoint.tokenizer_config, (checkpoint.json(FILE) or {}).get("normalizer")
    if isinstance(normalizer, dict) and normalizer.get("type") == "Sequence":
        return
    off = [key for key in ("add_prefix_space", "clean_up_tokenization_spaces") if not config.get(key, False)]
    if off:
        yield Error(
            "llama.cpp will not split some texts as the tokenizer does: its converter takes the handling of spaces from "
            f"{listed(off)}, which {'is' if len(off) == 1 else 'are'} not true",
            path="tokenizer_config.json",
            hint=f"copy {PIECES} of the model that this one is based on into the folder, or set {listed(off)} to true",
        )


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Error(f"token {ascii(text)[:80]} is not Unicode text", path=FILE) from None


def _charsmap(normalizer: Any) -> bytes:
    """The table of a Precompiled normalizer. Raises Error where the file has none at the place that the converter reads."""
    text = normalizer.get("precompiled_charsmap") if isinstance(normalizer, dict) else None
    if not isinstance(text, str):
        raise Error(
            "expected a 'normalizer' with a 'precompiled_charsmap', from which llama.cpp's runtime normalizes text",
            path=FILE,
            hint=f"copy {PIECES} from the model that this one is based on, or its tokenizer.json",
        )
    try:
        return _checked(binascii.a2b_base64(text), FILE)
    except (ValueError, binascii.Error):
        raise Error("'precompiled_charsmap' is not base64", path=FILE) from None


def _checked(charsmap: bytes, path: str) -> bytes:
    """A table as it is. Raises Error for one that the runtime would read beyond its end."""
    size = int.from_bytes(charsmap[:4], "little")
    if charsmap and (len(charsmap) > CHARSMAP_LIMIT or len(charsmap) < 4 or size > len(charsmap) - 4):
        raise Error(
            f"'precompiled_charsmap' of {len(charsmap):,} bytes claims a table of {size:,}",
            path=path,
            hint="the file is damaged: download it again",
        )
    return charsmap
