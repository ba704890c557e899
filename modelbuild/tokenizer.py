"""Tokenizers: the `tokenizer.*` metadata of a GGUF file, from the files in which a checkpoint keeps its tokenizer.

Sources: llama.cpp conversion/base.py (_create_vocab_sentencepiece, get_vocab_base), gguf-py vocab.py (SpecialVocab, LlamaHfVocab), and
for what AutoTokenizer makes of the files, transformers 4.57.6 tokenization_utils_base.py and tokenization_utils_fast.py.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters, digits
from typing import Any, NamedTuple

from modelbuild import pretokenizers
from modelbuild.checkpoint import Checkpoint, kind
from modelbuild.errors import Error
from modelbuild.formats.gguf import encode_value

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Token types (llama.h, enum llama_token_type)."""

SIZE_LIMIT = 1 << 24
"""The most tokens a vocabulary may claim; the largest real ones have half a million."""

ADDED_SCORE = -1000.0
PAD_SCORE = -10000.0
SPACE = "\u2581"

Values = dict[str, bytes]


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


def _vocabulary(
    model: str, pre: str, tokens: Sequence[str | bytes], types: Sequence[int], scores: Sequence[float] | None
) -> Values:
    values = {
        "tokenizer.ggml.model": encode_value("str", model),
        "tokenizer.ggml.pre": encode_value("str", pre),
        "tokenizer.ggml.tokens": encode_value("[str]", tokens),
    }
    if scores is not None:
        values["tokenizer.ggml.scores"] = encode_value("[f32]", scores)
    return values | {"tokenizer.ggml.token_type": encode_value("[i32]", types)}


def vocabulary_size(config: Mapping[str, Any]) -> int | None:
    """`vocab_size` of a config, None where it says none. Raises Error for one that cannot be."""
    size = config.get("vocab_size")
    if size is not None and (type(size) is not int or not 0 < size <= SIZE_LIMIT):
        raise Error(
            f"'vocab_size' expects a whole number from 1 to {SIZE_LIMIT:,}, got {kind(size)}", path="config.json"
        )
    return size


# --- SentencePiece -------------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    text: bytes
    score: float
    type: int


def pieces(data: bytes, path: str = "tokenizer.model") -> list[Piece]:
    """The pieces of a SentencePiece model, in the order of their ids.

    Raises Error for what is no model. Source: sentencepiece_model.proto, ModelProto.pieces
    """
    try:
        found = [_piece(value) for field, value in _fields(data) if field == 1 and isinstance(value, bytes)]
    except (ValueError, struct.error) as error:
        raise Error(f"is no SentencePiece model: {error}", path=path) from None
    if not found or sum(piece.type == UNKNOWN for piece in found) != 1:
        raise Error("is no SentencePiece model: it has no unknown piece, or several", path=path)
    return found


def _piece(data: bytes) -> Piece:
    text, score, type_ = b"", 0.0, NORMAL
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            text = value
        elif field == 2 and isinstance(value, bytes) and len(value) == 4:
            (score,) = struct.unpack("<f", value)
        elif field == 3 and isinstance(value, int):
            type_ = value
    text.decode("utf-8")
    if not text or type_ not in range(NORMAL, BYTE + 1):
        raise ValueError("a piece without text or of an unknown type")
    return Piece(text, score, type_)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a protobuf message: an int for a varint, bytes for the rest."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if length > len(data) - at:
            raise ValueError("it ends early")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("it ends early")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


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
        if _token_id(number, "added_tokens.json") < count:
            tokens[number], scores[number], types[number] = _utf8(text, "added_tokens.json"), ADDED_SCORE, USER_DEFINED
    for number, entry in _added_tokens_decoder(checkpoint):
        if number < count:
            text = entry["content"]
            special = entry.get("special") or looks_special(text)
            tokens[number] = _utf8(text if special else text.replace(SPACE, " "), "tokenizer_config.json")
            scores[number], types[number] = ADDED_SCORE, CONTROL if special else USER_DEFINED
    values = _vocabulary("llama", "default", tokens, types, scores)
    return values | special_tokens(checkpoint, count=count)


def _token_id(value: Any, path: str) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if type(number) is not int or number < 0:
        raise Error(f"expected the id of a token, got {kind(value)}", path=path)
    return number


def _utf8(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Error(f"token {text!r} is not Unicode text", path=path) from None


def _added_tokens_decoder(checkpoint: Checkpoint) -> list[tuple[int, dict[str, Any]]]:
    path = "tokenizer_config.json"
    decoder = checkpoint.tokenizer_config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise Error(f"'added_tokens_decoder' expects an object, got {kind(decoder)}", path=path)
    found = []
    for number, entry in decoder.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise Error(f"'added_tokens_decoder' expects objects with a 'content', got {kind(entry)}", path=path)
        found.append((_token_id(number, path), entry))
    return found


# --- tokenizer.json ------------------------------------------------------------------------------------------------


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
            raise Error(f"expected a token or an object with its 'content', got {kind(value)}", path=path)
        special = bool(value.get("special", False))
        flags = {name: bool(value.get(name, False)) for name in ("single_word", "lstrip", "rstrip")}
        return Added(value["content"], special, bool(value.get("normalized", not special)), **flags)


_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")

_CLASSES: dict[str, dict[str, str]] = {
    "PreTrainedTokenizer": {},
    "TokenizersBackend": {},
    "LlamaTokenizer": {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
    "GPT2Tokenizer": {"unk": "<|endoftext|>", "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "Qwen2Tokenizer": {"unk": "<|endoftext|>", "eos": "<|endoftext|>", "pad": "<|endoftext|>"},
}
"""The classes of transformers whose ways are known here, without a trailing 'Fast': the special tokens that each has by default."""

_CLASS_OF_MODEL = {
    "llama": "LlamaTokenizer",
    "mistral": "LlamaTokenizer",
    "mixtral": "LlamaTokenizer",
    "qwen2": "Qwen2Tokenizer",
}
"""model_type -> the class where no file names one (TOKENIZER_MAPPING)."""


class Loaded:
    """What AutoTokenizer makes of a folder with a tokenizer.json.

    vocabulary  token -> id, of the model alone
    added       id -> token, of those that are not left to the model
    special     the texts of the special tokens
    """

    def __init__(self, checkpoint: Checkpoint, data: dict[str, Any]) -> None:
        model = data.get("model")
        if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
            kinds = model.get("type") if isinstance(model, dict) else None
            raise Error(
                f"expected a model with a vocabulary of texts and ids, got {kind(kinds)}", path="tokenizer.json"
            )
        self.data = data
        self.model: dict[str, Any] = model
        self.vocabulary: dict[str, int] = model["vocab"]
        self.added: dict[int, Added] = {}
        self._ids: dict[str, int] = {}
        self._config = checkpoint.tokenizer_config
        self.class_name = _class_name(checkpoint)
        for entry in data.get("added_tokens") or []:
            self._add(Added.of(entry, "tokenizer.json"))
        special, decoder = self._declared(checkpoint)
        known = set(self.added.values())
        missing = [token for _, token in sorted(decoder.items()) if token not in known]
        encoder = {token.content for token in (*self.added.values(), *missing)}
        missing += [token for token in special.values() if token.content not in encoder]
        for token in missing:
            self._add(replace(token, special=token.special or token.content in special))
        self.special = tuple(special)
        self.bos = _content(self._named.get("bos"))
        self.eos = _content(self._named.get("eos"))

    def _declared(self, checkpoint: Checkpoint) -> tuple[dict[str, Added], dict[int, Added]]:
        """Special tokens by text, and added tokens by id, as the configuration files have them."""
        config, path = self._config, "tokenizer_config.json"
        named: dict[str, Any] = dict(_CLASSES[self.class_name])
        padding = self.data.get("padding")
        if isinstance(padding, dict) and padding.get("pad_token"):
            named["pad"] = padding["pad_token"]
        named |= {key: config[f"{key}_token"] for key in _SPECIAL if f"{key}_token" in config}
        more = list(config.get("additional_special_tokens") or [])
        extra = config.get("extra_special_tokens") or {}
        more += list(extra.values()) if isinstance(extra, dict) else list(extra)
        decoder = {}
        if "added_tokens_decoder" in config:
            decoder = {number: Added.of(entry, path) for number, entry in _added_tokens_decoder(checkpoint)}
        else:
            # Folders from before added_tokens_decoder: special_tokens_map.json wins over the configuration.
            file = "special_tokens_map.json"
            for key, value in (checkpoint.json(file) or {}).items():
                value = {**value, "special": True} if isinstance(value, dict) else value
                if key == "additional_special_tokens":
                    more += [item for item in value or [] if item not in more]
                else:
                    named[key.removesuffix("_token")] = value
            for entry in self.data.get("added_tokens") or []:
                decoder[_token_id(entry.get("id"), "tokenizer.json")] = Added.of(entry, "tokenizer.json")
        self._named = named
        by_text = {token.content: token for token in decoder.values()}
        special: dict[str, Added] = {}
        for value in (*(named.get(key) for key in _SPECIAL), *more):
            if value:
                token = Added.of(value, path)
                if isinstance(value, str):
                    token = replace(token, special=True, normalized=False)
                if value in named.values():
                    token = by_text.get(token.content, token)
                special.setdefault(token.content, token)
        return special, decoder

    def _add(self, token: Added) -> None:
        """Take a token in as the tokenizers library does (AddedVocabulary::add_tokens)."""
        if not token.content or token in self.added.values():
            return
        number = self._ids.get(token.content, self.vocabulary.get(token.content))
        if number is None:
            size = len(self.vocabulary)
            number = max(max(self.added, default=-1) + 1, size)
        self._ids[token.content] = number
        self.added[number] = token

    def id_of(self, text: str) -> int | None:
        return self._ids.get(text, self.vocabulary.get(text))

    def _post_processor(self) -> Any:
        """LlamaTokenizer puts its own in place of the file's (update_post_processor)."""
        if self.class_name != "LlamaTokenizer":
            return self.data.get("post_processor")
        around = []
        for text, flag in (
            (self.bos, self._config.get("add_bos_token", True)),
            (self.eos, self._config.get("add_eos_token", False)),
        ):
            around.append(text if flag and text is not None and self.id_of(text) is not None else None)
        template: list[dict[str, Any]] = [{"Sequence": {"id": "A", "type_id": 0}}]
        names = [{"SpecialToken": {"id": text, "type_id": 0}} for text in around if text is not None]
        if around[0] is not None:
            template.insert(0, names[0])
        if around[1] is not None:
            template.append(names[-1])
        special = {
            text: {"id": text, "ids": [self.id_of(text)], "tokens": [text]} for text in around if text is not None
        }
        pair = [*template, {"Sequence": {"id": "B", "type_id": 1}}]
        return {"type": "TemplateProcessing", "single": template, "pair": pair, "special_tokens": special}

    def _pre_tokenizer(self) -> Any:
        state = self.data.get("pre_tokenizer")
        wanted = self._config.get("add_prefix_space", False)
        if isinstance(state, dict) and isinstance(wanted, bool) and state.get("add_prefix_space", wanted) != wanted:
            return {**state, "add_prefix_space": wanted} if self.class_name != "LlamaTokenizer" else state
        return state

    def library(self, vocabulary: Mapping[str, int], merges: Sequence[Any]) -> Any:
        """This tokenizer in the tokenizers library, with so much of its vocabulary."""
        from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

        # With the added tokens among the model's, the library has nothing to number itself.
        ids = {token.content: number for number, token in self.added.items()}
        added = [{"id": number, **vars(token)} for number, token in self.added.items()]
        data = {
            **self.data,
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "pre_tokenizer": self._pre_tokenizer(),
            "post_processor": self._post_processor(),
            "model": {**self.model, "vocab": {**vocabulary, **ids}},
        }
        if "merges" in self.model:
            data["model"]["merges"] = merges
        try:
            return Tokenizer.from_str(json.dumps(data))
        except Exception as error:
            raise Error(f"the tokenizers library cannot read it: {error}", path="tokenizer.json") from None

    def needed(self) -> tuple[Mapping[str, int], Sequence[Any]] | None:
        """As much of vocabulary and merges as can bear upon TEXT; None where that cannot be told simply.

        A merge can only happen where its result is a part of some piece of the text, so the rest is left out: a tenth of the time.
        """
        plain = all(
            not self.model.get(key) for key in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
        )
        if (
            self.model.get("type") != "BPE"
            or not plain
            or any(token.content in pretokenizers.TEXT for token in self.added.values())
        ):
            return None
        blank = self.library({}, [])
        text = pretokenizers.TEXT if blank.normalizer is None else blank.normalizer.normalize_str(pretokenizers.TEXT)
        parts = (
            [text] if blank.pre_tokenizer is None else [part for part, _ in blank.pre_tokenizer.pre_tokenize_str(text)]
        )
        joined = "\0".join(parts)
        vocabulary = {token: number for token, number in self.vocabulary.items() if token in joined}
        merges = []
        for merge in self.model.get("merges") or []:
            first, second = merge if isinstance(merge, list) else merge.split(" ", 1)
            if first + second in vocabulary:
                merges.append(merge)
        if (unknown := self.model.get("unk_token")) is not None and unknown in self.vocabulary:
            vocabulary[unknown] = self.vocabulary[unknown]
        return vocabulary, merges


def _content(value: Any) -> str | None:
    return value.get("content") if isinstance(value, dict) else value


def _class_name(checkpoint: Checkpoint) -> str:
    config = checkpoint.config
    name = checkpoint.tokenizer_config.get("tokenizer_class") or config.get("tokenizer_class")
    if name is None:
        name = _CLASS_OF_MODEL.get(str(config.get("model_type")), "PreTrainedTokenizerFast")
    if not isinstance(name, str) or name.removesuffix("Fast") not in _CLASSES:
        known = ", ".join(f"{known}Fast" for known in _CLASSES)
        raise Error(
            f"tokenizer_class {kind(name)} is not built yet", path="tokenizer_config.json", facts=[("known", known)]
        )
    return name.removesuffix("Fast")


def load(checkpoint: Checkpoint) -> Loaded:
    """Read tokenizer.json. Raises Error where there is none."""
    data = checkpoint.json("tokenizer.json")
    if data is None:
        raise Error(
            "the tokenizer is missing: expected tokenizer.model or tokenizer.json beside config.json",
            hint="copy the tokenizer's files from the model that this one was made from",
        )
    return Loaded(checkpoint, data)


def is_llama_hf(data: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is SentencePiece in another spelling: BPE that falls back to bytes (LlamaHfVocab)."""
    model, decoder = data.get("model"), data.get("decoder")
    if not isinstance(model, dict) or not isinstance(decoder, dict):
        return False
    return model.get("type") == "BPE" and bool(model.get("byte_fallback")) and decoder.get("type") == "Sequence"


def llama_hf(checkpoint: Checkpoint) -> Values:
    """The vocabulary of a tokenizer.json that is SentencePiece in another spelling."""
    loaded = load(checkpoint)
    base = len(loaded.vocabulary)
    by_id = {number: text for text, number in loaded.vocabulary.items()} | {
        n: t.content for n, t in loaded.added.items()
    }
    special = {loaded.id_of(text) for text in loaded.special}
    tokens, types = [], []
    for number in range(base):
        if number not in by_id:
            raise Error(f"has no token for id {number}, expected ids from 0 to {base - 1}", path="tokenizer.json")
        text = by_id[number]
        tokens.append(text)
        byte = (
            len(text) == 6
            and text.startswith("<0x")
            and text.endswith(">")
            and all(c in "0123456789abcdefABCDEF" for c in text[3:5])
        )
        types.append(BYTE if byte else CONTROL if number in special else NORMAL)
    for number, token in sorted(loaded.added.items()):
        if number >= base:
            tokens.append(token.content)
            types.append(CONTROL if token.content in loaded.special else USER_DEFINED)
    values = _vocabulary("llama", "default", tokens, types, [ADDED_SCORE] * len(tokens))
    return values | special_tokens(checkpoint, count=len(tokens))


def byte_pairs(checkpoint: Checkpoint, size: int | None) -> Values:
    """The vocabulary of a byte-level tokenizer.json, filled up to `size` tokens (None: as many as it has)."""
    loaded = load(checkpoint)
    by_id = {number: text for text, number in loaded.vocabulary.items()} | {
        n: t.content for n, t in loaded.added.items()
    }
    count = size or len(by_id)
    top = max(by_id, default=-1)
    if not all(type(number) is int and number >= 0 for number in by_id) or top >= count:
        raise Error(
            f"holds token {top}, but the model has room for {count} tokens",
            path="tokenizer.json",
            facts=[("config.json", f"vocab_size {size}")],
            hint="the tokenizer is not this model's, or tokens were added to it without resizing the embeddings",
        )
    pre, library = pre_tokenizer(loaded)
    clean = loaded._config.get("clean_up_tokenization_spaces", False)
    tokens: list[str] = []
    types = [NORMAL] * count
    for number in range(count):
        text = by_id.get(number)
        if text is None:
            text = f"[PAD{number}]"
            types[number] = UNUSED
        tokens.append(text)
    for number, token in loaded.added.items():
        text = token.content
        if not token.normalized:
            text = library.decode(library.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
            text = _cleaned(text) if clean else text
        special = token.special or looks_special(text)
        types[number] = CONTROL if special else USER_DEFINED
        tokens[number] = text if special else text.replace(SPACE, " ")
    values = _vocabulary("gpt2", pre, tokens, types, None)
    return values | special_tokens(checkpoint, merges=True)


def _cleaned(text: str) -> str:
    for found in (" .", " ?", " !", " ,"):
        text = text.replace(found, found[1:])
    text = text.replace(" ' ", "'")
    for found in (" n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(found, found[1:])
    return text


def pre_tokenizer(loaded: Loaded) -> tuple[str, Any]:
    """llama.cpp's name of a tokenizer's pre-tokenizer, and the tokenizer in the tokenizers library.

    Raises Error for a pre-tokenizer that llama.cpp does not know.
    """
    attempts: list[tuple[Mapping[str, int], Sequence[Any]]] = [(loaded.vocabulary, loaded.model.get("merges") or [])]
    if (needed := loaded.needed()) is not None:
        attempts.insert(0, needed)
    for vocabulary, merges in attempts:
        library = loaded.library(vocabulary, merges)
        found = hashlib.sha256(str(library.encode(pretokenizers.TEXT).ids).encode()).hexdigest()
        if (name := pretokenizers.find(found)) is not None:
            return name, library
    raise Error(
        "the pre-tokenizer is none that llama.cpp knows",
        path="tokenizer.json",
        facts=[("hash", found), ("known", f"{len(pretokenizers.HASHES)} pre-tokenizers")],
        hint="a model can only run where its pre-tokenizer is known; was the tokenizer changed after it was downloaded?",
    )


# --- Special tokens, flags, templates ------------------------------------------------------------------------------

_KEYS = {
    "bos": "bos", "eos": "eos", "unk": "unknown", "sep": "seperator", "pad": "padding", "mask": "mask", "eot": "eot", "eom": "eom",
}  # fmt: skip
"""Kind of special token -> its word in `tokenizer.ggml.…_token_id`; the misspelling is GGUF's own."""


def special_tokens(
    checkpoint: Checkpoint,
    *,
    count: int | None = None,
    merges: bool = False,
    types: Sequence[str] = ("bos", "eos", "unk", "sep", "pad", "cls", "mask"),
    fixed: Mapping[str, int] | None = None,
) -> Values:
    """Merges, ids of special tokens, flags, chat templates and normalizer flags (gguf-py, SpecialVocab).

    count   ids from here on are left out
    merges  whether the merges of the tokenizer are wanted
    fixed   ids for kinds of tokens that the files say nothing of
    """
    found = _SpecialTokens(checkpoint, count, tuple(types))
    for name, number in (fixed or {}).items():
        found.set_id(name, number)
    values: Values = {}
    if merges and (list_ := _merges(checkpoint)):
        values["tokenizer.ggml.merges"] = encode_value("[str]", list_)
    for name, number in found.ids.items():
        if name in _KEYS:
            values[f"tokenizer.ggml.{_KEYS[name]}_token_id"] = encode_value("u32", number)
    for name, flag in found.flags.items():
        if name in ("bos", "eos", "sep"):
            values[f"tokenizer.ggml.add_{name}_token"] = encode_value("bool", flag)
    values |= _templates(found.template)
    for name, flag in found.normalizer.items():
        values[f"tokenizer.ggml.normalizer.{name}"] = encode_value("bool", flag)
    return values


def _merges(checkpoint: Checkpoint) -> list[str]:
    data = checkpoint.json("tokenizer.json") or {}
    merges = data["model"].get("merges") if isinstance(data.get("model"), dict) else None
    if not isinstance(merges, list) or not merges:
        return _merges_txt(checkpoint)
    path = "tokenizer.json"
    if all(isinstance(merge, str) for merge in merges):
        return merges
    if (
        not all(isinstance(merge, list) and all(isinstance(part, str) for part in merge) for merge in merges)
        or len(merges[0]) != 2
    ):
        raise Error("'merges' expects texts or pairs of texts", path=path)
    joined = [" ".join(pair) for pair in merges]
    # A space within a piece is spelled as the byte-level alphabet does, so that the one between them stays the only one.
    return [
        " ".join(part.replace(" ", "\u0120") for part in pair) if text.count(" ") >= len(pair) else text
        for text, pair in zip(joined, merges, strict=True)
    ]


def _merges_txt(checkpoint: Checkpoint) -> list[str]:
    lines = (checkpoint.text("merges.txt") or "").split("\n")
    if lines[0].strip().startswith("#"):
        lines = lines[1:]
    parts = [line.split(None, 3) for line in lines]
    return [" ".join(pair) for pair in parts if len(pair) == 2]


class _SpecialTokens:
    def __init__(self, checkpoint: Checkpoint, count: int | None, types: tuple[str, ...]) -> None:
        self.count = count
        self.types = types
        self.ids: dict[str, int] = {}
        self.flags: dict[str, bool] = {}
        self.normalizer: dict[str, bool] = {}
        self.template: Any = None
        tokenizer = checkpoint.json("tokenizer.json")
        # The configuration is changed below by what the tokenizer says of itself.
        config = dict(checkpoint.tokenizer_config)
        if tokenizer:
            if isinstance(normalizer := tokenizer.get("normalizer"), dict):
                self._normalizer(normalizer)
            self._post_processor(tokenizer.get("post_processor"), config)
        if config:
            self._from_config(config, tokenizer or {}, checkpoint)
        root = checkpoint.config
        text = root.get("text_config")
        text = text if isinstance(text, dict) else {}
        for name in self.types:
            value = root.get(f"{name}_token_id")
            self.set_id(name, text.get(f"{name}_token_id") if value is None else value)

    def set_id(self, name: str, value: Any) -> None:
        if not isinstance(value, int):
            return
        if value < 0:
            raise Error(f"'{name}_token_id' expects the id of a token, got {value}", path="config.json")
        if self.count is None or value < self.count:
            self.ids.setdefault(name, value)

    def _from_config(self, config: dict[str, Any], tokenizer: dict[str, Any], checkpoint: Checkpoint) -> None:
        template = config["chat_template"] if "chat_template" in config else _template_files(checkpoint)
        self.template = template if isinstance(template, str | list) else None
        added: dict[str, Any] = {}
        for entry in tokenizer.get("added_tokens") or []:
            if isinstance(entry, dict) and isinstance(entry.get("content"), str):
                added.setdefault(entry["content"], entry.get("id"))
        for name in self.types:
            flag = config.get(f"add_{name}_token")
            if isinstance(flag, bool):
                self.flags.setdefault(name, flag)
            text = _content(config.get(f"{name}_token"))
            if isinstance(text, str):
                self.set_id(name, added.get(text))

    def _normalizer(self, normalizer: dict[str, Any]) -> None:
        name = normalizer.get("type")
        if name == "Lowercase":
            self.normalizer["lowercase"] = True
        elif name == "StripAccents":
            self.normalizer["strip_accents"] = True
        elif name == "BertNormalizer":
            for flag in ("lowercase", "strip_accents"):
                if normalizer.get(flag) is not None:
                    self.normalizer[flag] = bool(normalizer[flag])
        elif name == "Sequence":
            for part in normalizer.get("normalizers") or []:
                self._normalizer(part)

    def _post_processor(self, processor: Any, config: dict[str, Any]) -> None:
        bos, cls, eos, sep = (config.get(f"{name}_token") for name in ("bos", "cls", "eos", "sep"))
        if not bos and cls and config:
            config["bos_token"] = bos = cls
        if not eos and sep and config:
            config["eos_token"] = eos = sep
        if not isinstance(processor, dict):
            return
        for part in processor.get("processors", [processor]):
            kind_of = part.get("type")
            if kind_of == "ByteLevel":
                self.flags.setdefault("bos", False)
                self.flags.setdefault("eos", False)
            elif kind_of == "RobertaProcessing":
                self.flags |= {"bos": True, "eos": True, "sep": True}
                if not cls and config:
                    config["cls_token"] = cls = part.get("cls", [bos])[0]
                if not sep and config:
                    config["sep_token"] = sep = part.get("sep", [eos])[0]
            elif kind_of == "TemplateProcessing":
                bos, cls, eos, sep = self._template(part, config, bos, cls, eos, sep)

    def _template(
        self, part: dict[str, Any], config: dict[str, Any], bos: Any, cls: Any, eos: Any, sep: Any
    ) -> tuple[Any, Any, Any, Any]:
        """Whether a template puts special tokens first, last and between, judged by its ends alone."""
        single, pair = part.get("single") or [], part.get("pair") or []
        first = last = None
        if len(single) > 1:
            if first := _special_of(single[0]):
                if not config:
                    bos = first
                elif first not in (bos, cls):
                    if not bos:
                        config["bos_token"] = bos = first
                    if not cls:
                        config["cls_token"] = cls = first
                self.flags["bos"] = first in (bos, cls)
            if last := _special_of(single[-1]):
                if not config:
                    eos = last
                elif last != eos:
                    # The token that ended a text until now is kept as the one that ends a turn.
                    for name in ("eot", "eom"):
                        if name not in self.types:
                            self.types += (name,)
                            config[f"{name}_token"] = eos
                            break
                    config["eos_token"] = eos = last
                self.flags["eos"] = last == eos
        if pair:
            start = 1 if first and _special_of(pair[0]) == first else 0
            stop = -1 if last and _special_of(pair[-1]) == last else None
            inner = pair[start:stop]
            if inner and _sequence_of(inner[0]) == "A" and _sequence_of(inner[-1]) == "B" and (between := inner[1:-1]):
                ends = (sep, eos)
                add = _special_of(between[0]) in ends and bool(_special_of(between[0])) and not last
                add = add or (len(between) == 2 and bool(_special_of(between[1])) and _special_of(between[1]) in ends)
                self.flags["sep"] = add
                if add and not sep and config:
                    config["sep_token"] = eos
        return bos, cls, eos, sep


def _special_of(entry: Any) -> Any:
    return entry.get("SpecialToken", {}).get("id")


def _sequence_of(entry: Any) -> Any:
    return entry.get("Sequence", {}).get("id")


def _template_files(checkpoint: Checkpoint) -> Any:
    """The chat template of a folder whose tokenizer_config.json has none: a text, or a list of named ones."""
    text = checkpoint.text("chat_template.jinja")
    if text is None:
        return (checkpoint.json("chat_template.json") or {}).get("chat_template")
    folder, suffix = "additional_chat_templates/", ".jinja"
    named = sorted(name for name in checkpoint.names if name.startswith(folder) and name.endswith(suffix))
    more = [(name.removeprefix(folder).removesuffix(suffix), checkpoint.text(name)) for name in named]
    found = [{"name": name, "template": template} for name, template in more if template is not None]
    return [{"name": "default", "template": text}, *found] if found else text


def _templates(template: Any) -> Values:
    if isinstance(template, str):
        return {"tokenizer.chat_template": encode_value("str", template)} if template else {}
    values: Values = {}
    names = []
    default = ""
    for choice in template or []:
        if not isinstance(choice, dict) or not isinstance(choice.get("template"), str | None):
            raise Error("'chat_template' expects a text or a list of named templates", path="tokenizer_config.json")
        text = choice.get("template")
        name = "".join(c if c in ascii_letters + digits else "_" for c in str(choice.get("name", "")))
        if not name or text is None:
            continue
        if name == "default":
            default = text
            continue
        names.append(name)
        if text:
            values[f"tokenizer.chat_template.{name}"] = encode_value("str", text)
    if names:
        # llama.cpp writes these names in no certain order.
        values["tokenizer.chat_templates"] = encode_value("[str]", list(dict.fromkeys(names)))
    if default:
        values["tokenizer.chat_template"] = encode_value("str", default)
    return values
