"""Tokenizers: the `tokenizer.*` metadata of a GGUF file, from the files in which a checkpoint keeps its tokenizer.

Source: llama.cpp conversion/base.py (_create_vocab_sentencepiece, get_vocab_base) and gguf-py vocab.py (LlamaHfVocab).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers.fast import FILE, FastTokenizer, added_tokens_decoder, origins, token_id
from modelbuild.checkpoint.tokenizers.sentencepiece import BYTE, CONTROL, NORMAL, UNUSED, USER_DEFINED, pieces
from modelbuild.checkpoint.tokenizers.special import KINDS, special_tokens
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json, listed

SIZE_LIMIT = 1 << 20
"""The most tokens a vocabulary may have; the largest of models of text have half a million."""

ADDED_SCORE = -1000.0
PAD_SCORE = -10000.0
SPACE = "\u2581"


def tokens_in(metadata: Mapping[str, bytes]) -> int:
    """How many tokens some `tokenizer.*` metadata lists."""
    data = metadata.get("tokenizer.ggml.tokens")
    return int.from_bytes(data[8:16], "little") if data else 0


def looks_special(text: str) -> bool:
    """Whether an added token is a control token in spite of what its checkpoint says (does_token_look_special)."""
    if text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]"):
        return True
    ends = (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))
    return any(text.startswith(start) and text.endswith(end) for start, end in ends)


def tables(
    model: str, pre: str | None, tokens: Sequence[str | bytes], types: Sequence[int], scores: Sequence[float] | None
) -> Values:
    """The metadata of a vocabulary's tokens. Raises Error for two of one text."""
    _check_distinct(tokens)
    values = {"tokenizer.ggml.model": encode_value("str", model)}
    if pre is not None:
        values["tokenizer.ggml.pre"] = encode_value("str", pre)
    values["tokenizer.ggml.tokens"] = encode_value("[str]", tokens)
    if scores is not None:
        values["tokenizer.ggml.scores"] = encode_value("[f32]", scores)
    return values | {"tokenizer.ggml.token_type": encode_value("[i32]", types)}


def _check_distinct(tokens: Sequence[str | bytes]) -> None:
    """Raise Error for two tokens of one text, at which the runtime ends (llama.cpp src/llama-vocab.cpp, load).

    Empty ones get texts of their own there.
    """
    if len(set(tokens)) == len(tokens):
        return
    places: dict[str | bytes, int] = {}
    for number, text in enumerate(tokens):
        if text and text in places:
            shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            raise Error(
                f"tokens {places[text]} and {number} of the vocabulary are both {in_json(shown).removeprefix('the text ')}",
                hint="llama.cpp's runtime crashes on such a vocabulary: rename or remove one of them in the tokenizer files",
            )
        places[text] = number


def vocabulary_size(config: Mapping[str, Any]) -> int | None:
    """`vocab_size` of a config, None where it says none. Raises Error for one that cannot be."""
    size = config.get("vocab_size")
    if size is not None and (type(size) is not int or not 0 < size <= SIZE_LIMIT):
        raise Error(
            f"'vocab_size' expects a whole number from 1 to {SIZE_LIMIT:,}, got {in_json(size)}", path="config.json"
        )
    return size


def sentencepiece(checkpoint: Checkpoint, size: int | None) -> Values | None:
    """The vocabulary of tokenizer.model, `size` tokens of it (None: all); None where there is no such file."""
    data = checkpoint.read("tokenizer.model")
    if data is None:
        return None
    base = pieces(data)
    count = size or len(base)
    tokens: list[bytes] = [piece.text for piece in base[:count]]
    scores = [piece.score for piece in base[:count]]
    # Pieces that a user defined count as normal ones: only BYTE, UNUSED, CONTROL and UNKNOWN are asked for.
    types = [NORMAL if piece.type == USER_DEFINED else piece.type for piece in base[:count]]
    for number in range(len(tokens), count):
        tokens.append(b"[PAD%d]" % number)
        scores.append(PAD_SCORE)
        types.append(UNUSED)
    for text, number in (checkpoint.json("added_tokens.json") or {}).items():
        if token_id(number, "added_tokens.json") < count:
            tokens[number], scores[number], types[number] = _utf8(text, "added_tokens.json"), ADDED_SCORE, USER_DEFINED
    for number, entry in added_tokens_decoder(checkpoint):
        if number < count:
            text = entry["content"]
            special = entry.get("special") or looks_special(text)
            tokens[number] = _utf8(text if special else text.replace(SPACE, " "), "tokenizer_config.json")
            scores[number], types[number] = ADDED_SCORE, CONTROL if special else USER_DEFINED
    values = tables("llama", "default", tokens, types, scores)
    return values | special_tokens(checkpoint, count=count)


def _utf8(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Error(f"token {text!r} is not Unicode text", path=path) from None


def is_llama_hf(data: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is SentencePiece in another spelling: BPE that falls back to bytes (LlamaHfVocab)."""
    model, decoder = data.get("model"), data.get("decoder")
    if not isinstance(model, dict) or not isinstance(decoder, dict):
        return False
    return model.get("type") == "BPE" and bool(model.get("byte_fallback")) and decoder.get("type") == "Sequence"


def llama_hf(checkpoint: Checkpoint, size: int | None = None) -> Values:
    """The vocabulary of a tokenizer.json that is SentencePiece in another spelling, filled up to `size` tokens.

    llama.cpp's converter leaves such a vocabulary as short as it is; its runtime would not load the file, whose embedding has more rows.
    """
    tokens, types, scores = _spelled_otherwise(checkpoint, FastTokenizer(checkpoint), size)
    values = tables("llama", "default", tokens, types, scores)
    return values | special_tokens(checkpoint, count=len(tokens))


def gemma4(checkpoint: Checkpoint, size: int | None, visible: Collection[str]) -> Values:
    """The same with its merges, as the runtime reads it for Gemma 4.

    visible  control tokens that are text to the reader of an answer
    Source: llama.cpp conversion, Gemma4Model.set_vocab. Raises Error for a tokenizer.json of another kind.
    """
    data = checkpoint.json(FILE)
    if data is not None and not is_llama_hf(data):
        raise Error(
            "expected byte pairs that fall back to bytes, as the tokenizers of Gemma 4 are",
            path=FILE,
            hint="use the tokenizer of the model that this one is based on",
        )
    loaded = FastTokenizer(checkpoint)
    tokens, types, scores = _spelled_otherwise(checkpoint, loaded, size)
    types = [USER_DEFINED if text in visible else kind for text, kind in zip(tokens, types, strict=True)]
    values = tables("gemma4", None, tokens, types, scores)
    values["tokenizer.ggml.merges"] = encode_value("[str]", _merges(checkpoint, loaded))
    return values | special_tokens(checkpoint)


def _spelled_otherwise(
    checkpoint: Checkpoint, loaded: FastTokenizer, size: int | None
) -> tuple[list[str], list[int], list[float]]:
    """Texts, types and scores of the tokens, filled up to `size` of them (LlamaHfVocab.all_tokens)."""
    base = len(loaded.vocabulary)
    by_id = loaded.texts()
    if size is not None:
        check_room(loaded, by_id, size, checkpoint)
    special = {loaded.id_of(text) for text in loaded.special}
    is_byte = re.compile(r"<0x[0-9A-Fa-f]{2}>").fullmatch
    tokens, types = [], []
    for number in range(base):
        if number not in by_id:
            raise Error(f"has no token for id {number}, expected ids from 0 to {base - 1}", path="tokenizer.json")
        text = by_id[number]
        tokens.append(text)
        types.append(BYTE if is_byte(text) else CONTROL if number in special else NORMAL)
    for number, token in sorted(loaded.added.items()):
        if number >= base:
            tokens.append(token.content)
            types.append(CONTROL if token.content in loaded.special else USER_DEFINED)
    scores = [ADDED_SCORE] * len(tokens)
    for number in range(len(tokens), size or 0):
        tokens.append(f"[PAD{number}]")
        types.append(UNUSED)
        scores.append(PAD_SCORE)
    return tokens, types, scores


def byte_pairs(checkpoint: Checkpoint, size: int | None, fixed: Mapping[str, str] | None = None) -> Values:
    """The vocabulary and merges of a byte-level tokenizer.json, filled up to `size` tokens (None: as many as it has).

    fixed  added tokens by the kinds of special tokens that they are, where the files say nothing of these
    """
    loaded = FastTokenizer(checkpoint)
    if loaded.kind not in ("BPE", "None"):
        raise Error(
            f"expected byte pairs ('type' BPE), got {loaded.kind[:40]}, which llama.cpp's converter does not take for this class",
            path=FILE,
            hint="the tokenizer belongs to another model",
        )
    pre, tokens, types = named_tokens(checkpoint, loaded, size)
    values = tables("gpt2", pre, tokens, types, None)
    values["tokenizer.ggml.merges"] = encode_value("[str]", _merges(checkpoint, loaded))
    return values | special_tokens(checkpoint, fixed=_ids(loaded, fixed or {}))


def _ids(loaded: FastTokenizer, fixed: Mapping[str, str]) -> dict[str, int]:
    ids = {token.content: number for number, token in loaded.added.items()}
    lacking = sorted({text for text in fixed.values() if text not in ids})
    if lacking:
        what = " and ".join(f"'{text}'" for text in lacking)
        raise Error(f"expected {what} among the added tokens, as this architecture has", path="tokenizer.json")
    return {kind: ids[text] for kind, text in fixed.items()}


def words(checkpoint: Checkpoint, size: int | None) -> Values:
    """The vocabulary of a tokenizer.json that splits text at spaces alone, filled up to `size` tokens (_set_vocab_whitespace)."""
    loaded = FastTokenizer(checkpoint)
    _, tokens, types = named_tokens(checkpoint, loaded, size)
    values = tables("whitespace", "whitespace", tokens, types, None)
    if merges := loaded.merges:
        values["tokenizer.ggml.merges"] = encode_value("[str]", merges)
    return values | special_tokens(checkpoint)


def named_tokens(checkpoint: Checkpoint, loaded: FastTokenizer, size: int | None) -> tuple[str, list[str], list[int]]:
    """The name of the pre-tokenizer, and the tokens of a tokenizer.json and their types, filled up to `size` (get_vocab_base)."""
    texts = loaded.texts()
    count = size or len(texts)
    check_room(loaded, texts, count, checkpoint)
    pre, library = loaded.pre_tokenizer(checkpoint.pre)
    types = [NORMAL] * count
    for number, token in loaded.added.items():
        text = token.content
        if not token.normalized:
            text = loaded.cleaned(library.decoded(library.ids(text)))
        special = token.special or looks_special(text)
        types[number] = CONTROL if special else USER_DEFINED
        texts[number] = text if special else text.replace(SPACE, " ")
    if len(texts) < count:
        for number in range(count):
            if number not in texts:
                texts[number], types[number] = f"[PAD{number}]", UNUSED
    return pre, [texts[number] for number in range(count)], types


def check_room(loaded: FastTokenizer, texts: Mapping[int, str], count: int, checkpoint: Checkpoint) -> None:
    """Raise Error for tokens that the model has no rows for: where they are said, or why they are added."""
    numbers = [number for number in texts if not 0 <= number < count]
    if not numbers:
        return
    declared = origins(checkpoint)
    beyond = {number: declared.get(texts[number], "") if number in loaded.beside else FILE for number in numbers}
    room = ("config.json", f"vocab_size {checkpoint.config.get('vocab_size')}")
    own = [number for number, origin in beyond.items() if origin == FILE]
    if own:
        raise Error(
            f"contains token {min(own) if min(own) < 0 else max(own)}, but the model has room for {count} tokens",
            path=FILE,
            facts=[room],
            hint="the tokenizer belongs to another model, or tokens were added to it without resizing the embeddings",
        )
    held = ("tokenizer.json", f"tokens {min(texts)} to {max(texts.keys() - beyond.keys(), default=0)}")
    path = next((origin for origin in beyond.values() if origin), "")
    named = listed(texts[number] for number, origin in sorted(beyond.items()) if origin == path)
    if path:
        raise Error(
            f"adds {named} to the tokens of tokenizer.json, but the model has no rows for them",
            path=path,
            facts=[held, room],
            hint="the tokenizer belongs to another model, or tokens were added to it without resizing the embeddings",
        )
    missing = checkpoint.json("tokenizer_config.json") is None
    adds = f"the class {loaded.class_name} of transformers adds {named}, but the model has no rows for them"
    raise Error(
        f"is missing: without it {adds}" if missing else f"does not name all special tokens, so {adds}",
        path="tokenizer_config.json",
        facts=[held, room],
        hint="get tokenizer_config.json from where the model came from"
        if missing
        else "name the model's own there, as bos_token, eos_token and unk_token; null for one that it does not have",
    )


def doubts(checkpoint: Checkpoint, metadata: Mapping[str, bytes]) -> list[Error]:
    """What is taken for granted of a tokenizer since a small file is missing, or names a token that there is not."""
    found = []
    count = tokens_in(metadata)
    for kind in KINDS:
        data = metadata.get(f"tokenizer.ggml.{kind}_token_id")
        number = int.from_bytes(data[4:8], "little") if data else 0
        if number >= count > 0:
            found.append(
                Error(
                    f"the id of the {kind} token is {number}, but the vocabulary has {count:,} tokens",
                    path="config.json",
                    hint="llama.cpp's runtime ignores such an id: correct it in config.json",
                )
            )
    if checkpoint.json("tokenizer_config.json") is None:
        facts = [("not used", name) for name in ("chat_template.jinja", "chat_template.json") if checkpoint.read(name)]
        found.append(
            Error(
                "is missing: the special tokens are the defaults of the model's class, and there is no chat template",
                path="tokenizer_config.json",
                facts=facts,
                hint="get it from where the model came from",
            )
        )
    return found


def _merges(checkpoint: Checkpoint, loaded: FastTokenizer) -> list[str]:
    """Those of the tokenizer, or else of merges.txt. Raises Error for none: the runtime loads no byte pairs without (llama_vocab::load)."""
    if merges := loaded.merges or _merges_txt(checkpoint):
        return merges
    raise Error(
        "'merges' of the byte pairs are missing: llama.cpp's runtime does not load a model without them",
        path=FILE,
        hint="take tokenizer.json from the model that this one is based on",
    )


def _merges_txt(checkpoint: Checkpoint) -> list[str]:
    lines = (checkpoint.text("merges.txt") or "").split("\n")
    if lines[0].strip().startswith("#"):
        lines = lines[1:]
    parts = [line.split(None, 3) for line in lines]
    return [" ".join(pair) for pair in parts if len(pair) == 2]
