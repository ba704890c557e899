"""What transformers' AutoTokenizer makes of a tokenizer.json and the files around it, without transformers.

Source: transformers 4.57.6, tokenization_utils_base.py (_from_pretrained) and tokenization_utils_fast.py (__init__).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import Any

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers import pretokenizers
from modelbuild.checkpoint.tokenizers.classes import ADDS_BOS, CLASS_OF_MODEL, CLASSES, MORE_SPECIAL, SPECIAL
from modelbuild.checkpoint.tokenizers.library import BoundedTokenizer
from modelbuild.errors import Error
from modelbuild.words import in_json, listed

FILE = "tokenizer.json"

SQUARES_LIMIT = 1 << 18
"""Sum of the squares of the lengths of a text's pieces, of which all parts are looked up in the vocabulary; 5 thousand in real ones."""


@dataclass(frozen=True)
class Added:
    """A token that is not left to the model: found in the text before anything else is done to it."""

    content: str
    special: bool = False
    normalized: bool = True
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False

    @staticmethod
    def of(value: Any, path: str) -> Added:
        """The token that a text or an object of a tokenizer file stands for."""
        if isinstance(value, str):
            return Added(value)
        if not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise Error(f"expected a token or an object with its 'content', got {in_json(value)}", path=path)
        special = bool(value.get("special", False))
        flags = {name: bool(value.get(name, False)) for name in ("single_word", "lstrip", "rstrip")}
        return Added(value["content"], special, bool(value.get("normalized", not special)), **flags)


def content(value: Any) -> Any:
    """The text of a special token that is given as a text or as an object."""
    return value.get("content") if isinstance(value, dict) else value


def items(value: Any) -> list[Any]:
    """The items of a list; none of anything else."""
    return list(value) if isinstance(value, list) else []


def token_id(value: Any, path: str) -> int:
    """The id of a token, a number or the digits of one. Raises Error for anything else."""
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value
    if type(number) is not int or number < 0:
        raise Error(f"expected the id of a token, got {in_json(value)}", path=path)
    return number


def added_tokens_decoder(checkpoint: Checkpoint) -> list[tuple[int, dict[str, Any]]]:
    """The added tokens of tokenizer_config.json, by id, as they stand there."""
    path = "tokenizer_config.json"
    decoder = checkpoint.tokenizer_config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise Error(f"'added_tokens_decoder' expects an object, got {in_json(decoder)}", path=path)
    found = []
    for number, entry in decoder.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise Error(f"'added_tokens_decoder' expects objects with a 'content', got {in_json(entry)}", path=path)
        found.append((token_id(number, path), entry))
    return found


class FastTokenizer:
    """A loaded tokenizer.

    vocabulary  token -> id, of the model alone
    kind        of the model: BPE, WordPiece, Unigram
    scores      of each token of a Unigram model, by id
    merges      'first second', in order; None where the model has none
    added       id -> token, of those that are not left to the model
    special     the texts of the special tokens
    class_name  transformers' class, less a trailing 'Fast'
    beside      the ids of those that tokenizer.json does not list, but a file beside it, or the class
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        data = checkpoint.json(FILE)
        if data is None:
            raise Error(
                "the tokenizer is missing: expected tokenizer.model or tokenizer.json beside config.json",
                hint="copy the tokenizer files from the model that this one is based on",
            )
        model: Any = data.get("model")
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        self.scores: list[float] = []
        if isinstance(model, dict) and model.get("type") == "Unigram":
            vocabulary = self._scored(vocabulary)
        if not isinstance(vocabulary, dict) or not set(map(type, vocabulary.values())) <= {int}:
            raise Error("expected a 'model' with a 'vocab' of texts and ids", path=FILE)
        self.kind = str(model.get("type"))
        self._data = data
        self._model = model
        self._config = checkpoint.tokenizer_config
        self.class_name = _class_name(checkpoint)
        self._ids: dict[str, int] = {}
        self._next = 0
        self.vocabulary: dict[str, int] = vocabulary
        self.added: dict[int, Added] = {}
        for entry in items(data.get("added_tokens")):
            self._add(Added.of(entry, FILE))
        named, more, decoder = _declared(checkpoint, self.class_name, data)
        special = _special(named, more, decoder)
        known = set(self.added.values())
        missing = [token for _, token in sorted(decoder.items(), key=lambda item: item[0]) if token not in known]
        texts = {token.content for token in (*known, *missing)}
        missing += [token for token in special.values() if token.content not in texts]
        self.beside: set[int] = set()
        for token in missing:
            before, of_model = self._next, token.content in self.vocabulary
            listed_as_special = token.content in special and not token.special
            self._add(replace(token, special=True) if listed_as_special else token)
            if self._next > before and not of_model:
                self.beside.add(self._next - 1)
        self.special = tuple(special)
        self._bos, self._eos = content(named.get("bos")), content(named.get("eos"))

    def _scored(self, pieces: Any) -> dict[str, int]:
        """Take the scores out of the vocabulary of a Unigram model, a list of pieces and their scores."""
        if not isinstance(pieces, list) or not all(
            isinstance(pair, list)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and type(pair[1]) in (int, float)
            and isfinite(pair[1])
            for pair in pieces
        ):
            raise Error("expected a 'vocab' of pieces, each with a finite score", path=FILE)
        self.scores = [score for _, score in pieces]
        found = {piece: number for number, (piece, _) in enumerate(pieces)}
        if len(found) < len(pieces):
            twice = next(piece for number, (piece, _) in enumerate(pieces) if found[piece] != number)
            raise Error(
                f"contains the token {in_json(twice).removeprefix('the text ')} more than once",
                path=FILE,
                hint="llama.cpp's runtime crashes on such a vocabulary: download the file again",
            )
        return found

    def _add(self, token: Added) -> None:
        """Take a token in as the tokenizers library does (AddedVocabulary::add_tokens)."""
        if not token.content:
            return
        number = self.id_of(token.content)
        if number is None:
            number = max(self._next, len(self.vocabulary))
        self._next = max(self._next, number + 1)
        self._ids[token.content] = number
        self.added[number] = token

    def id_of(self, text: str) -> int | None:
        """The id of a token; None for a text that is none."""
        return self._ids.get(text, self.vocabulary.get(text))

    def texts(self) -> dict[int, str]:
        """The text of every token, by id."""
        found = {number: text for text, number in self.vocabulary.items()}
        return found | {number: token.content for number, token in self.added.items()}

    @cached_property
    def merges(self) -> list[str]:
        """'first second' for each merge of the model, in order; none where it has none of its own."""
        merges = self._model.get("merges") or []
        kinds = set(map(type, merges)) if isinstance(merges, list) else {type(merges)}
        if kinds <= {str}:
            return list(merges)
        try:
            if kinds != {list}:
                raise TypeError
            joined = [first + " " + second for first, second in merges]
        except (TypeError, ValueError):
            raise Error("'merges' expects texts or pairs of texts", path=FILE) from None
        if "".join(joined).count(" ") > len(joined):
            # A space within a piece is spelled as the byte-level alphabet does: the one between the pieces stays the only one.
            joined = [" ".join(piece.replace(" ", "\u0120") for piece in pair) for pair in merges]
        return joined

    def pre_tokenizer(self, given: str | None = None) -> tuple[str, BoundedTokenizer]:
        """llama.cpp's name of the pre-tokenizer, and this tokenizer in the tokenizers library, able to deal with its added tokens.

        given  the name, where it is not to be found out
        Raises Error for a pre-tokenizer that llama.cpp does not know. Source: conversion/base.py, get_vocab_base_pre
        """
        digest = ""
        for vocabulary, merges in filter(None, (self._needed(), (self.vocabulary, self._model.get("merges") or []))):
            library = self._bounded(vocabulary, merges)
            if given is not None:
                return given, library
            digest = hashlib.sha256(str(library.ids_with_special(pretokenizers.TEXT)).encode()).hexdigest()
            if (name := pretokenizers.find(digest)) is not None:
                return name, library
        if self.kind == "WordPiece" and pretokenizers.is_berts(self._data):
            # The runtime splits text for such a vocabulary in one way only, whatever the name (llm_tokenizer_wpm_session::preprocess).
            return "default", library
        raise Error(
            "llama.cpp does not know this pre-tokenizer",
            path=FILE,
            facts=[("hash", digest), ("known", listed(pretokenizers.NAMES, len(pretokenizers.NAMES)))],
            hint='set `pre` in ModelBuild.toml to the one that splits text like this tokenizer, such as `pre = "llama-bpe"`: '
            "the one of the model that it is based on",
        )

    def encoded(self, text: str) -> list[int]:
        """The ids that a text becomes, with those of the special tokens around it. Raises Error."""
        return self._bounded(self.vocabulary, self._model.get("merges") or []).ids_with_special(text)

    def _needed(self) -> tuple[Mapping[str, int], Sequence[str]] | None:
        """As much of vocabulary and merges as can bear upon TEXT: a tenth of the time. None where that cannot be told simply.

        A merge can only happen where its result is a part of some piece of the text.
        """
        pieces = self._bounded({}, []).pieces(pretokenizers.TEXT)
        unusual = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
        if self._model.get("type") != "BPE" or any(self._model.get(key) for key in unusual):
            return None
        if any(token.content in pretokenizers.TEXT for token in self.added.values()):
            return None
        if sum(len(piece) ** 2 for piece in pieces) > SQUARES_LIMIT:
            return None
        parts = {piece[i:j] for piece in pieces for i in range(len(piece)) for j in range(i + 1, len(piece) + 1)}
        vocabulary = {part: self.vocabulary[part] for part in parts if part in self.vocabulary}
        merges = {f"{token[:i]} {token[i:]}" for token in vocabulary for i in range(1, len(token))}
        if (unknown := self._model.get("unk_token")) in self.vocabulary:
            vocabulary[unknown] = self.vocabulary[unknown]
        return vocabulary, [merge for merge in self.merges if merge in merges]

    def _bounded(self, vocabulary: Mapping[str, int], merges: Sequence[Any]) -> BoundedTokenizer:
        """This tokenizer in the tokenizers library, with so much of its vocabulary."""
        # With the added tokens among the model's, the library has none to number itself.
        ids = {token.content: number for number, token in self.added.items()}
        # With a dropout it would merge by chance.
        model = {
            **self._model,
            "vocab": {**vocabulary, **ids},
            **({"dropout": None} if "dropout" in self._model else {}),
        }
        if "merges" in model:
            model["merges"] = merges
        data = {
            **self._data,
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": number, **vars(token)} for number, token in self.added.items()],
            "pre_tokenizer": self._pre_tokenizer(),
            "post_processor": self._post_processor(),
            "normalizer": self._normalizer(),
            "model": model,
        }
        return BoundedTokenizer(data, FILE)

    def _pre_tokenizer(self) -> Any:
        state = self._data.get("pre_tokenizer")
        wanted = self._config.get("add_prefix_space", False)
        if (
            self.class_name != "LlamaTokenizer"
            and isinstance(state, dict)
            and isinstance(wanted, bool)
            and "add_prefix_space" in state
        ):
            return {**state, "add_prefix_space": wanted}
        return state

    def _normalizer(self) -> Any:
        """The file's, with the flags that a class lays over it (BertTokenizerFast)."""
        state = self._data.get("normalizer")
        if self.class_name not in ("BertTokenizer", "DistilBertTokenizer") or not isinstance(state, dict):
            return state
        config = self._config
        flags = {
            "lowercase": config.get("do_lower_case", True),
            "strip_accents": config.get("strip_accents"),
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        }
        return state if all(state.get(key, flag) == flag for key, flag in flags.items()) else {**state, **flags}

    def _post_processor(self) -> Any:
        """The file's, or what some classes put in its place (LlamaTokenizerFast.update_post_processor)."""
        if self.class_name not in ADDS_BOS:
            return self._data.get("post_processor")
        flags = (
            self._config.get("add_bos_token", ADDS_BOS[self.class_name]),
            self._config.get("add_eos_token", False),
        )
        before, after = (
            [text] if flag and text else [] for text, flag in zip((self._bos, self._eos), flags, strict=True)
        )

        def template(*parts: Any) -> list[Any]:
            return [{"SpecialToken": {"id": part, "type_id": 0}} if isinstance(part, str) else part for part in parts]

        first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        return {
            "type": "TemplateProcessing",
            "single": template(*before, first, *after),
            "pair": template(*before, first, *after, *before, second, *after),
            "special_tokens": {
                text: {"id": text, "ids": [self.id_of(text)], "tokens": [text]} for text in (*before, *after)
            },
        }

    def cleaned(self, text: str) -> str:
        """What decoding does to the spaces of a text, where the configuration asks for it (clean_up_tokenization)."""
        if not self._config.get("clean_up_tokenization_spaces", False):
            return text
        for found in (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"):
            text = text.replace(found, found.strip())
        return text


def _class_name(checkpoint: Checkpoint) -> str:
    config = checkpoint.config
    name = checkpoint.tokenizer_config.get("tokenizer_class") or config.get("tokenizer_class")
    if name is None:
        name = CLASS_OF_MODEL.get(str(config.get("model_type")), "PreTrainedTokenizer")
    if not isinstance(name, str) or name.removesuffix("Fast") not in CLASSES:
        shown = f"'{name}'" if isinstance(name, str) else in_json(name)
        raise Error(
            f"tokenizer_class {shown} is not supported yet",
            path="tokenizer_config.json",
            facts=[("known", ", ".join(CLASSES))],
            hint="a tokenizer.json that needs no special class can name PreTrainedTokenizerFast",
        )
    return name.removesuffix("Fast")


def _declared(
    checkpoint: Checkpoint, class_name: str, data: dict[str, Any]
) -> tuple[dict[str, Any], list[Any], dict[int, Added]]:
    """What the files around tokenizer.json say: special tokens by kind, more of them, added tokens by id."""
    config, path = checkpoint.tokenizer_config, "tokenizer_config.json"
    named: dict[str, Any] = dict(CLASSES[class_name])
    padding = data.get("padding")
    if isinstance(padding, dict) and padding.get("pad_token"):
        named["pad"] = padding["pad_token"]
    named |= {name: config[f"{name}_token"] for name in SPECIAL if f"{name}_token" in config}
    extra = config.get("extra_special_tokens")
    more = items(config.get("additional_special_tokens"))
    more += extra.values() if isinstance(extra, dict) else items(extra)
    more += MORE_SPECIAL.get(class_name, ())
    if "added_tokens_decoder" in config:
        return named, more, {number: Added.of(entry, path) for number, entry in added_tokens_decoder(checkpoint)}
    # Folders from before added_tokens_decoder: special_tokens_map.json wins over the configuration.
    for key, value in (checkpoint.json("special_tokens_map.json") or {}).items():
        if key == "additional_special_tokens":
            more += items(value)
        else:
            named[key.removesuffix("_token")] = {**value, "special": True} if isinstance(value, dict) else value
    special = {text for value in (*named.values(), *more) if isinstance(text := content(value), str)}
    older = {
        token_id(number, "added_tokens.json"): Added(text, text in special, text not in special)
        for text, number in (checkpoint.json("added_tokens.json") or {}).items()
    }
    added = [entry for entry in items(data.get("added_tokens")) if isinstance(entry, dict)]
    return named, more, older | {token_id(entry.get("id"), FILE): Added.of(entry, FILE) for entry in added}


def origins(checkpoint: Checkpoint) -> dict[str, str]:
    """The text of each token that a file beside tokenizer.json declares -> that file."""
    config, path = checkpoint.tokenizer_config, "tokenizer_config.json"
    mapped = checkpoint.json("special_tokens_map.json") or {}
    found = [(text, "added_tokens.json") for text in checkpoint.json("added_tokens.json") or {}]
    found += [
        (content(each), "special_tokens_map.json") for value in mapped.values() for each in items(value) or [value]
    ]
    found += [(content(value), path) for key, value in config.items() if key.endswith("_token")]
    found += [(content(value), path) for value in items(config.get("additional_special_tokens"))]
    found += [(entry["content"], path) for _, entry in added_tokens_decoder(checkpoint)]
    return {text: file for text, file in found if isinstance(text, str)}


def _special(named: Mapping[str, Any], more: Sequence[Any], decoder: Mapping[int, Added]) -> dict[str, Added]:
    """The special tokens by text, those of a kind of their own first."""
    by_text = {token.content: token for token in decoder.values()}
    found: dict[str, Added] = {}
    for name, value in [*((name, named.get(name)) for name in SPECIAL), *(("", value) for value in more)]:
        if value:
            plain = isinstance(value, str)
            token = Added(value, special=True, normalized=False) if plain else Added.of(value, "tokenizer_config.json")
            found.setdefault(token.content, by_text.get(token.content, token) if name else token)
    return found
