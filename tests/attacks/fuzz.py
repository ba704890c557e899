"""Tokenizers and model cards at random, through the whole conversion: `python -m tests.attacks.fuzz SECONDS [SEED]`.

What comes in is put together from parts that the library and YAML know, and then damaged. What comes out is a recipe or an error, soon.
The last input lies in the folder that is named at the start, for one at which the process ends.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from modelbuild.errors import Error, render
from modelbuild.steps import convert

from .. import checkpoints, recipes
from . import hostile

SECONDS = 20.0
"""Of computing that no input may take."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 256, 1 << 31, 1 << 32, -(1 << 63), 1 << 64, 10**30, 0.0, -0.5, 1e308, float("nan"),
    float("inf"),    "", " ", "a", "\u0120", "\u2581", "<s>", "\ud800", "\0", "🦙", "x" * 3000, "(a*)*b", [], {}, [[]], [None], {"": 0},
    {"type": "Sequence"},
    ["a", "b"], [["a", "b"]], "3", "\n", {"String": "3"}, {"Regex": r"\p{L}+"},
)  # fmt: skip

PATTERNS = (
    {"String": " "}, {"String": "3"}, {"String": ""}, {"Regex": r"\s+"}, {"Regex": r"(\S+\S+)+y"}, {"Regex": "."}, {"Regex": "["},
    {"Regex": r"[^Q]{0,60}[^Q]{0,60}[^Q]{0,60}(?!)"}, {"Regex": ""}, {"Regex": r"'(?i:[sdmt]|ll|ve|re)|\p{N}{1,3}|\s+(?!\S)|\s+"}, " ",
)  # fmt: skip
TEXTS = ("", "a", " ", "\u2581", "33", "x" * 40, "y" * 700, "\u00e9", "\ufdfa", "##", "</w>", "<s>")


def normalizers(random: Random, depth: int = 0) -> Any:
    kind = random.choice(
        ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Replace", "Prepend", "Precompiled", "BertNormalizer", "Nmt")
        + ("ByteLevel", "Sequence", "Sequence")
    )  # fmt: skip
    if kind == "Sequence":
        return {
            "type": kind,
            "normalizers": [normalizers(random, depth + 1) for _ in range(random.randrange(4 if depth < 3 else 1))],
        }
    return {
        "type": kind, "strip_left": random.random() < 0.5, "strip_right": True, "pattern": random.choice(PATTERNS),
        "content": random.choice(TEXTS), "prepend": random.choice(TEXTS), "clean_text": True, "handle_chinese_chars": True,
        "strip_accents": random.choice((None, True, False)), "lowercase": True,
        "precompiled_charsmap": random.choice(("", "AAAA", "AAAAAA==", "CAAAAAAAAAAAAAAAYQA=", "/////w==", "BAAAAAEAAABhYWFhAA==")),
    }  # fmt: skip


def splitters(random: Random, depth: int = 0) -> Any:
    kind = random.choice(
        ("ByteLevel", "ByteLevel", "Metaspace", "Split", "Split", "Punctuation", "Whitespace", "WhitespaceSplit", "Digits")
        + ("UnicodeScripts", "BertPreTokenizer", "CharDelimiterSplit", "FixedLength", "Sequence", "Sequence")
    )  # fmt: skip
    if kind == "Sequence":
        return {
            "type": kind,
            "pretokenizers": [splitters(random, depth + 1) for _ in range(random.randrange(4 if depth < 3 else 1))],
        }
    return {
        "type": kind, "add_prefix_space": random.random() < 0.5, "trim_offsets": True, "use_regex": random.random() < 0.5,
        "replacement": random.choice(("\u2581", "x", "ab", "")), "prepend_scheme": random.choice(("always", "first", "never")),
        "split": random.random() < 0.5, "pattern": random.choice(PATTERNS), "invert": random.random() < 0.3,
        "behavior": random.choice(("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous")),
        "individual_digits": True, "delimiter": random.choice(("a", " ", "")), "length": random.choice((0, 1, 5, 1 << 40)),
    }  # fmt: skip


def decoders(random: Random, depth: int = 0) -> Any:
    kind = random.choice(
        (
            "ByteLevel",
            "Replace",
            "Strip",
            "Fuse",
            "ByteFallback",
            "Metaspace",
            "WordPiece",
            "BPEDecoder",
            "CTC",
            "Sequence",
            "Sequence",
        )
    )
    if kind == "Sequence":
        return {
            "type": kind,
            "decoders": [decoders(random, depth + 1) for _ in range(random.randrange(4 if depth < 3 else 1))],
        }
    return {
        "type": kind, "pattern": random.choice(PATTERNS), "content": random.choice(TEXTS), "start": random.choice((0, 1, 9, 1 << 40)),
        "stop": random.choice((0, 1, 1 << 40)), "prefix": random.choice(TEXTS), "cleanup": True, "suffix": random.choice(TEXTS),
        "pad_token": "<pad>", "word_delimiter_token": "|", "replacement": random.choice(("\u2581", "x")), "prepend_scheme": "first",
        "split": True, "add_prefix_space": True, "trim_offsets": True, "use_regex": True,
    }  # fmt: skip


def processors(random: Random) -> Any:
    def parts() -> list[Any]:
        names = ["<s>", "</s>", "<none>", "a"]
        tokens = [{"SpecialToken": {"id": name, "type_id": 0}} for name in names]
        sequences = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
        return [random.choice(tokens + sequences) for _ in range(random.randrange(5))]

    special = {name: {"id": name, "ids": [random.choice((0, 1, 999))], "tokens": [name]} for name in ("<s>", "</s>")}
    choices = (
        None,
        hostile.BYTE_LEVEL,
        {"type": "TemplateProcessing", "single": parts(), "pair": parts(), "special_tokens": special},
        {
            "type": "RobertaProcessing",
            "sep": ["</s>", 2],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": True,
        },
        {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]},
        {"type": "Sequence", "processors": [hostile.BYTE_LEVEL]},
    )
    return random.choice(choices)


def tokenizer(random: Random) -> dict[str, Any]:
    """A tokenizer.json of parts that fit together, as a rule."""
    flags = ("special", "normalized", "single_word", "lstrip", "rstrip")
    added = [
        {
            "id": 256 + number,
            "content": random.choice(("<s>", "</s>", "<|x|>", "3", " ", "\u2581a", "a b")) + "." * number,
        }
        | {flag: random.random() < 0.4 for flag in flags}
        for number in range(random.randrange(4))
    ]
    model: dict[str, Any] = {"type": random.choice(("BPE", "BPE", "BPE", "WordPiece", "WordLevel", "Unigram"))}
    for key, values in (
        ("unk_token", (None, "<unk>", "a", "[UNK]")), ("continuing_subword_prefix", (None, "", "##")),
        ("end_of_word_suffix", (None, "</w>")),        ("byte_fallback", (False, True)), ("ignore_merges", (False, True)),
        ("fuse_unk", (False, True)), ("dropout", (None, 0.5)),
        ("max_input_chars_per_word", (0, 100)), ("merges", ([], ["a b"], [["a", "b"]], ["3 3", "33 3", "x y"])),
    ):  # fmt: skip
        if random.random() < 0.6:
            model[key] = random.choice(values)
    if random.random() < 0.5:
        model["vocab"] = {
            text: number for number, text in enumerate(("a", "b", "ab", "3", "33", "\u0120", "<s>", "</s>", "##a"))
        }
    optional = {
        "normalizer": normalizers,
        "pre_tokenizer": splitters,
        "decoder": decoders,
        "post_processor": processors,
    }
    parts = {key: make(random) for key, make in optional.items() if random.random() < 0.6}
    return hostile.tokenizer(added_tokens=added, model=model, **parts)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        keys = list(each) if isinstance(each, dict) else list(range(len(each))) if isinstance(each, list) else []
        # Of 256 letters of an alphabet a few will do.
        keys = keys[:24]
        found += [(each, key) for key in keys]
        waiting += [each[key] for key in keys]
    return found


def damaged(random: Random, document: Any) -> Any:
    """A document with a few places changed: another value, another place's value, nothing, or the place within itself."""
    document = copy.deepcopy(document)
    for _ in range(random.randrange(4)):
        holder, key = random.choice(places(document))
        way = random.randrange(5)
        if way == 0:
            holder.pop(key)
            continue
        other, name = random.choice(places(document))
        value = copy.deepcopy(random.choice(ODD) if way < 3 else other[name])
        holder[key] = value if way < 4 else [copy.deepcopy(holder[key])] * 3
    return document


def cut(random: Random, data: bytes) -> bytes:
    """Bytes with a piece of them taken out, doubled or replaced, now and then."""
    if not data or random.random() < 0.85:
        return data
    at, length = random.randrange(len(data)), random.randrange(1, 40)
    put = random.choice((b"", data[at : at + length] * 2, bytes(random.randrange(256) for _ in range(3))))
    return data[:at] + put + data[at + length :]


def tokenizer_files(random: Random) -> dict[str, bytes]:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": random.choice(("<s>", None, {"content": "</s>"})), "add_bos_token": True,
        "additional_special_tokens": ["<|x|>"], "clean_up_tokenization_spaces": random.random() < 0.5,
        "added_tokens_decoder": {"300": {"content": "<|y|>", "special": True}},
    }  # fmt: skip
    if random.random() < 0.5:
        del config["added_tokens_decoder"]
    files = {"tokenizer.json": damaged(random, tokenizer(random)), "tokenizer_config.json": damaged(random, config)}
    return {name: cut(random, json.dumps(content).encode()) for name, content in files.items()}


KEYS = (
    "name", "license", "tags", "language", "base_model", "datasets", "model-index", "author", "version", "<<", "? [a]", "description",
    "a b",
)  # fmt: skip
SCALARS = (
    "x", "no", "1", "1:30:00", "0x1f", "0b1", "0o7", "1_000", ".inf", "-.nan", "2024-01-01", "2001-12-14t21:59:43.10-05:00",
    "~", "''", '"\\ud800"',
    "!!binary aGk=", "!!binary '='", "!!bool x", "!!int x", "!!int ''", "!!float x", "!!timestamp x", "!!set {a}", "!!omap [a: 1]",
    "!!pairs [a]",
    "!!python/name:os.system", "!x y", "|\n  text", ">\n  text", "*a", "*b", "*none", "&a [1, *b]", "&b {k: v}", "&a x", "[*a, *a]",
    "{<<: *b}",
    "{<<: [*b, *b], q: 1}", "https://huggingface.co/org/name-7B", "org/Some-7B-chat-v1.0", "\t", "%", "@", "`", "'", "- no", "a: b: c", "[",
    "}", "#",
    "0x" + "f" * 4500, "9" * 4400, "1" + ":5" * 3000, "[" * 70 + "]" * 70, "=", "!!value =", "{=: 1}", "!!map [1]", "!!seq {a: 1}",
    "!!str [a]",
    "!!null x", "0.", "1e5", "685_230.15", "190:20:30.15", "-0", "+1", "0_", "0b", "0x_", "__", "._", "+.inf",
)  # fmt: skip


def card(random: Random) -> bytes:
    lines = ["---"]
    for _ in range(random.randrange(1, 9)):
        key = random.choice(KEYS)
        way = random.randrange(4)
        if way < 2:
            lines.append(f"{key}: {random.choice(SCALARS)}")
        elif way == 2:
            lines += [f"{key}:", *(f"- {random.choice(SCALARS)}" for _ in range(random.randrange(4)))]
        else:
            lines += [
                f"{key}:",
                *(f"  {random.choice(KEYS)}: {random.choice(SCALARS)}" for _ in range(random.randrange(4))),
            ]
    return cut(random, "\n".join([*lines, random.choice(("---", "--- ", "...", "")), "text"]).encode())


class Converter:
    """A small checkpoint into which files are put, and which is converted."""

    def __init__(self, folder: Path) -> None:
        self.folder = checkpoints.write(folder, **hostile.SMALL)

    def convert(self, files: dict[str, bytes], *, pre: str | None = None) -> None:
        """Convert the checkpoint with these files. Anything but a recipe or an Error comes through."""
        pieces = self.folder / "tokenizer.model"
        data = pieces.read_bytes() if "tokenizer.json" in files else b""
        try:
            if data:
                pieces.unlink()
            for name, content in files.items():
                (self.folder / name).write_bytes(content)
            begun = time.thread_time()
            try:
                convert.run({"outtype": "source", "folder": "m", "pre": pre}, recipes.Folder(self.folder))
            except Error as error:
                assert render(error)
            assert time.thread_time() - begun < SECONDS, files
        finally:
            for name in files:
                (self.folder / name).unlink(missing_ok=True)
            if data:
                pieces.write_bytes(data)


WAYS: dict[str, Callable[[Random], dict[str, bytes]]] = {
    "tokenizer": tokenizer_files,
    "card": lambda random: {"README.md": card(random)},
}


def main() -> None:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    folder = Path(tempfile.mkdtemp(prefix="modelbuild-fuzz-"))
    print(f"in {folder}, from seed {seed}", flush=True)
    converter = Converter(folder / "m")
    end, rounds, failed = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        random = Random(seed + rounds)
        way = random.choice(list(WAYS))
        files = WAYS[way](random)
        for name, content in files.items():
            (folder / f"last-{name}").write_bytes(content)
        try:
            converter.convert(files, pre="llama-bpe" if random.random() < 0.3 else None)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failed += 1
            print(f"seed {seed + rounds}: {type(error).__name__}: {str(error)[:300]}", flush=True)
        rounds += 1
    print(f"{rounds} rounds: {failed or 'nothing'} found")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
