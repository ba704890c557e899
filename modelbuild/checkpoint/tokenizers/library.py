"""The tokenizers library, behind bounds: all use of it goes through here.

What it is given comes with the weights, from anyone. It panics where it has no error, and does whatever it is told to.
"""

from __future__ import annotations

import binascii
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import inf
from typing import Any

from modelbuild.errors import Error
from modelbuild.words import shown

TEXT_LIMIT = 1 << 18
"""Characters that a text may come to when it is normalized or decoded."""
TOKEN_LIMIT = 1 << 14
"""Characters of an added token. The longest real ones have two hundred."""
ADDED_LIMIT = 1 << 18
"""Added tokens. The most that a real model has, one that speaks, are some 75 thousand."""
TEXTS_LIMIT = 1 << 23
"""Characters that all added tokens may come to when they are normalized or decoded."""
PARTS_LIMIT = 64
"""Normalizers, pre-tokenizers or decoders after one another. Real tokenizers have up to ten."""
CHARSMAP_LIMIT = 1 << 22
"""Bytes of a table of characters and what takes their place. Real ones have some 300 thousand."""
PATTERN_LIMIT = 1 << 13
"""Characters of a regular expression. The longest real ones have some seven hundred."""
SECONDS = 10.0
"""Time for all that a tokenizer is asked; a real one of a hundred thousand added tokens takes two seconds."""
STEP_SECONDS = 0.25
"""Time for a part of a text: where that takes longer, the whole may never end."""

_KEYS = (
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model",
)  # fmt: skip

_GROWTH = {
    "NFC": 3, "NFD": 4, "NFKC": 18, "NFKD": 18, "Lowercase": 3, "BertNormalizer": 12, "ByteLevel": 4, "Metaspace": 2,
}  # fmt: skip
"""How many times as long a text of other than ASCII may become (Unicode, UAX 15); the others do not make it longer."""
_GROWTH_OF_ASCII = {"BertNormalizer": 3, "Metaspace": 2}


class BoundedTokenizer:
    """A tokenizer in the library, which it keeps within bounds. Whatever goes wrong there is an Error that names the file.

    data  as tokenizer.json has it; its `added_tokens` are whole
    """

    def __init__(self, data: Mapping[str, Any], path: str) -> None:
        self._path = path
        self._spent = 0.0
        self._data = {key: data[key] for key in _KEYS if key in data}
        self._before = [*flattened(data.get("normalizer")), *flattened(data.get("pre_tokenizer"))]
        self._after = list(flattened(data.get("decoder")))
        self._check()
        tokenizer_class = _tokenizer_class(path)
        with self._guarded("read"):
            self._tokenizer = tokenizer_class.from_str(json.dumps(self._data))

    def ids(self, text: str) -> list[int]:
        """The ids that a text becomes, without those of special tokens that would be put around it."""
        return self._encoded(text, special=False)

    def ids_with_special(self, text: str) -> list[int]:
        """The ids that a text becomes, with those of the special tokens around it."""
        return self._encoded(text, special=True)

    def _encoded(self, text: str, special: bool) -> list[int]:
        self._check_normalized([text])
        with self._timed("encode"):
            return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def decoded(self, ids: Sequence[int]) -> str:
        """The text that some ids stand for, special tokens included."""
        with self._timed("decode"):
            return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def pieces(self, text: str) -> list[str]:
        """The pieces into which a text is split before the model sees it.

        Parts of the text are tried first: a regular expression may take time that grows with a power of its length.
        """
        self._check_normalized([text])
        normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        if normalizer is not None:
            for part in _parts(text):
                with self._timed("normalize", STEP_SECONDS if len(part) < len(text) else inf):
                    normalized = normalizer.normalize_str(part)
            text = normalized
        if splitter is None:
            return [text]
        for part in _parts(text):
            with self._timed("split", STEP_SECONDS if len(part) < len(text) else inf):
                pieces = splitter.pre_tokenize_str(part)
        return [piece for piece, _ in pieces]

    @contextmanager
    def _timed(self, what: str, most: float = inf) -> Iterator[None]:
        with self._guarded(what):
            begun = time.thread_time()
            yield
        taken = time.thread_time() - begun
        self._spent += taken
        if taken > most or self._spent > SECONDS:
            raise Error(
                f"takes too long to {what} text",
                path=self._path,
                facts=[
                    ("at most", f"{most if taken > most else SECONDS:g} s"),
                    ("took", f"{max(taken, self._spent):.1f} s"),
                ],
                hint="a regular expression in it backtracks too much: simplify those of its normalizer and pre_tokenizer",
            )

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        try:
            yield
        except (Error, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
            raise
        except BaseException as error:
            # The library has no narrower class of errors, and its panics are no Exceptions.
            because = " ".join(str(error).split())[:300]
            raise Error(
                f"the tokenizers library cannot {what} it"
                if what == "read"
                else f"the tokenizers library cannot {what} text",
                path=self._path,
                facts=[("because", because or type(error).__name__)],
                hint="fix the file, or download it again from where you got the weights",
            ) from None

    # Bounds

    def _check(self) -> None:
        for key in ("normalizer", "pre_tokenizer", "decoder", "post_processor"):
            count = 0
            for part in flattened(self._data.get(key)):
                count += 1
                self._check_part(key, part)
            if count > PARTS_LIMIT:
                raise self._too(f"'{key}' has {count:,} parts", PARTS_LIMIT)
        self._check_prefix()
        contents = [token["content"] for token in self._data["added_tokens"]]
        if len(contents) > ADDED_LIMIT:
            raise self._too(f"has {len(contents):,} added tokens", ADDED_LIMIT)
        longest = max(map(len, contents), default=0)
        if longest > TOKEN_LIMIT:
            raise self._too(f"has an added token of {longest:,} characters", TOKEN_LIMIT)
        self._check_normalized([token["content"] for token in self._data["added_tokens"] if token["normalized"]])
        self._require(sum(_grown(self._after, text) for text in contents), TEXTS_LIMIT, "decoder")

    def _check_prefix(self) -> None:
        """Raise Error for merges that the library cuts in the middle of a character, without looking: it then ends the process."""
        model: Any = self._data["model"]
        prefix, merges = model.get("continuing_subword_prefix"), model.get("merges")
        if not prefix or not isinstance(prefix, str) or not isinstance(merges, list):
            return
        for merge in merges:
            second = (
                merge.split(" ")[-1]
                if isinstance(merge, str)
                else merge[-1]
                if isinstance(merge, list) and merge
                else ""
            )
            if isinstance(second, str) and not second.startswith(prefix):
                raise Error(
                    f"'merges' joins {shown(merge)}, but its second piece does not start with the continuing_subword_prefix",
                    path=self._path,
                    facts=[("prefix", shown(prefix))],
                    hint="set continuing_subword_prefix to null if the pieces have no prefix",
                )

    def _check_part(self, key: str, part: Mapping[str, Any]) -> None:
        pattern = part.get("pattern")
        regex = pattern.get("Regex") if isinstance(pattern, dict) else None
        if isinstance(regex, str) and len(regex) > PATTERN_LIMIT:
            raise self._too(f"'{key}' has a regular expression of {len(regex):,} characters", PATTERN_LIMIT)
        if "precompiled_charsmap" in part:
            try:
                _longest_of_charsmap(part["precompiled_charsmap"])
            except ValueError as error:
                raise Error(f"'{key}' cannot be read: {error}", path=self._path) from None

    def _check_normalized(self, texts: Sequence[str]) -> None:
        """Bound what becomes of texts before the model sees them; each has a bound, and all together."""
        lengths = [_grown(self._before, text) for text in texts]
        self._require(max(lengths, default=0), TEXT_LIMIT, "normalizer and pre_tokenizer")
        self._require(sum(lengths), TEXTS_LIMIT, "normalizer")

    def _require(self, length: int, limit: int, what: str) -> None:
        if length > limit:
            raise self._too(f"{what} may make texts of {length:,} characters", limit)

    def _too(self, what: str, limit: int) -> Error:
        hint = "no real tokenizer has so much: the file is damaged, or another one; download it again"
        return Error(f"{what}, expected at most {limit:,}", path=self._path, hint=hint)


def _tokenizer_class(path: str) -> Any:
    """The library's Tokenizer. Raises Error where an install has left the library out."""
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise Error(
            "reading it needs the tokenizers library, which is not installed here",
            path=path,
            facts=[("import", str(error))],
            hint=f"install it: {sys.executable} -m pip install tokenizers",
        ) from None
    return Tokenizer


def _parts(text: str) -> Iterator[str]:
    """The start of a text, half as much again each time, and then the text."""
    length = 16
    while length < len(text):
        yield text[:length]
        length += length // 2
    yield text


def flattened(part: Any) -> Iterator[Mapping[str, Any]]:
    """A normalizer and the like, and all those within it, in their order."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            for key in ("normalizers", "pretokenizers", "processors", "decoders"):
                inner = part.get(key)
                waiting.extend(reversed(inner if isinstance(inner, list) else []))


def _grown(parts: Sequence[Mapping[str, Any]], text: str) -> int:
    """An upper bound of the characters that normalizers and the like, one after the other, make of a text."""
    length, ascii_only = len(text), text.isascii()
    for each in parts:
        # The library tells some kinds by their keys alone, where no type is said.
        kind = each.get("type")
        given = [value for key in ("content", "prepend", "replacement") if isinstance(value := each.get(key), str)]
        longest = max(map(len, given), default=0)
        if "prepend" in each:
            length += longest
        if "pattern" in each:
            pattern = each["pattern"]
            found = pattern.get("String") if isinstance(pattern, dict) else None
            # A regular expression, or an empty text, may be found before each character and at the end.
            count = length // len(found) if isinstance(found, str) and found else length + 1
            length += count * longest
        if "precompiled_charsmap" in each:
            length *= _longest_of_charsmap(each["precompiled_charsmap"])
        growth = _GROWTH_OF_ASCII if ascii_only else _GROWTH
        length *= growth.get(kind, 1) if isinstance(kind, str) else max(_GROWTH.values())
        ascii_only = ascii_only and kind not in (None, "Precompiled", "ByteLevel") and all(map(str.isascii, given))
    return length


def _longest_of_charsmap(value: Any) -> int:
    return _longest(value) if isinstance(value, str) else 1


@lru_cache(maxsize=4)
def _longest(value: str) -> int:
    """The longest text that a Precompiled normalizer puts in place of one: those stand behind its table, each with a zero at its end.

    Raises ValueError for what the library would end the process at: a table that claims more than there is.
    """
    data = binascii.a2b_base64(value)
    size = int.from_bytes(data[:4], "little")
    if len(data) > CHARSMAP_LIMIT or len(data) < 4 or size > len(data) - 4:
        raise ValueError(f"a charsmap of {len(data):,} bytes claims a table of {size:,}")
    return max(1, *map(len, data[4 + size :].split(b"\0")))
