"""Small tokenizers of encoders: WordPiece as BERT's, Unigram as XLM-RoBERTa's, byte pairs as RoBERTa's and ModernBERT's."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from ..checkpoints import protobuf

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
WORDS = ("the", "and", "ing", "ed", "er", "cat", "dog", "house", "water", "time", "en", "un", "re", "ion", "s", "ly")
FOREIGN = "\u00e9\u00fc\u00f1\u00df\u03b1\u03b2\u0438\u043d\u6211\u7231\u65e5\u672c\u304b\ud55c"

CHARSMAP = zlib.decompress(
    base64.b85decode(
        "c-ke?36Kv|7y$6MJDX|Ejw4|*ju3K0yFw{vk^72rpS3KxI^?$7g`7pX*_AsK7K_Ew$+&O1JBEhbXSsg=dNaTI-h1CSZ{EBk#Dox@"
        "3?Vi)gzS%mNJ~yF6hgF^91|UqbBB;({!!zlanT`7E}MRw!kpwlNytSW9wRT0lb?J%!N&d}WM)N&0{WH+1t~&divGWaP@H0v;3-N`"
        "lF~d)S<3JX<)}b;;(3;eBv6Uxs6u64;CWu8D%E(28dRqiHF=rZ)ZrCgr7rcUM?)IWm_{_E3C(H7YqX#hEqR02X+vw;(UuOhrxP9N"
        "LT9?smA814?j({#4|>s)-n>m;`rv3oKi=gX-se3&U;u*{$PflIjG>HRI4O}!=OaGk6Fz1npE8<JjNvoJF_sC8=W`}9i7)t)$xPuZ"
        "rZJTnOlKA|nZs<-NabthGM{-YWC4p=#5XKq8B6(=<*eX4R<V-Rq_dVatRsUBtdG1!GTF=~wvfg5Y~@FO;Aehf8^1(y8Bt-oxRV|1"
        "W*2+e!+!R0kOLg%5Jx$}F@EI)$2rAG&TyLF`HesMgR@+Ui3)#-=Qtm!NskJDix(m}E^>v-T;nP?xXvwZa);ae%Rk)XE)Tf>-`|U`"
        "kl+_2CWVI*l#2i"
    )
)
"""SentencePiece's table of seven characters: \ufb01 becomes fi, \uff21 A, \u00bd 1/2; \u00a0, \u3000, tab and line feed become spaces."""


def token(number: int, text: str, **flags: bool) -> dict[str, Any]:
    """An entry of `added_tokens`."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": text, **plain, **flags}


def around(first: str, last: str, numbers: tuple[int, int], second_type: int) -> dict[str, Any]:
    """A post-processor: special tokens around a text, and between two."""

    def special(text: str, kind: int = 0) -> dict[str, Any]:
        return {"SpecialToken": {"id": text, "type_id": kind}}

    one, other = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", second_type)))
    between = [] if second_type else [special(last)]
    return {
        "type": "TemplateProcessing",
        "single": [special(first), one, special(last)],
        "pair": [special(first), one, special(last), *between, other, special(last, second_type)],
        "special_tokens": {
            text: {"id": text, "ids": [number], "tokens": [text]}
            for text, number in zip((first, last), numbers, strict=True)
        },
    }


def word_pieces(*, lowercase: bool = True) -> dict[str, str]:
    """160 tokens of BERT's kind, and what transformers writes beside them."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary += [*FOREIGN, *(f"##{word}" for word in WORDS if len(word) > 1), *WORDS[:-2], "X", "Y", "##X"]
    vocabulary += [f"[unused{number}]" for number in range(160 - len(vocabulary))]
    data = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [token(number, text) for number, text in enumerate(vocabulary[:5])],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": around("[CLS]", "[SEP]", (2, 3), 1),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {text: number for number, text in enumerate(vocabulary)},
        },
    }  # fmt: skip
    config = {
        "tokenizer_class": "BertTokenizer", "do_lower_case": lowercase, "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
        "cls_token": "[CLS]", "mask_token": "[MASK]", "strip_accents": None, "tokenize_chinese_chars": True,
    }  # fmt: skip
    return {"tokenizer.json": json.dumps(data, ensure_ascii=False), "tokenizer_config.json": json.dumps(config)}


def pieces() -> list[tuple[str, float]]:
    """180 pieces of XLM-RoBERTa's kind, and their scores."""
    mark = "\u2581"
    found = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    texts = [
        mark,
        *(mark + word for word in WORDS),
        *WORDS[3:],
        *(mark + letter for letter in LETTERS),
        *LETTERS,
        *FOREIGN,
        "A",
        "B",
    ]
    texts += [mark + text for text in ("a cat", "1/2", "fi", "st")][1:]
    texts = list(dict.fromkeys(texts))
    found += [(text, -2.0 - number / 16) for number, text in enumerate(texts)]
    found += [(f"{mark}spare{number}", -30.0) for number in range(179 - len(found))]
    return [*found, ("<mask>", 0.0)]


UNIGRAM_CONFIG = {
    "tokenizer_class": "XLMRobertaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
    "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>", "clean_up_tokenization_spaces": True, "add_prefix_space": True,
}  # fmt: skip


def unigram_json() -> dict[str, str]:
    """The tokenizer.json of XLM-RoBERTa's pieces."""
    vocabulary = pieces()
    mask = len(vocabulary) - 1
    data = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            *(token(number, text) for number, (text, _) in enumerate(vocabulary[:4])),
            token(mask, "<mask>", lstrip=True, normalized=True),
        ],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(CHARSMAP).decode()},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
            ],
        },
        "post_processor": around("<s>", "</s>", (0, 2), 0),
        "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 3, "vocab": [list(pair) for pair in vocabulary], "byte_fallback": False},
    }
    return {"tokenizer.json": json.dumps(data, ensure_ascii=False), "tokenizer_config.json": json.dumps(UNIGRAM_CONFIG)}


def unigram_model() -> bytes:
    """The sentencepiece.bpe.model of the same pieces: its first three are others, and `<mask>` is none of them."""
    found = [("<unk>", 2, 0.0), ("<s>", 3, 0.0), ("</s>", 3, 0.0)]
    found += [(text, 1, score) for text, score in pieces()[4:-1]]
    return protobuf(
        found,
        trainer=b"\x18\x01",
        normalizer=b"\x12" + bytes([len(CHARSMAP) & 127 | 128, len(CHARSMAP) >> 7]) + CHARSMAP,
    )


def byte_pairs(first: dict[str, Any], *, berts: bool = False) -> dict[str, str]:
    """Byte pairs with five special tokens before them, as RoBERTa and ModernBERT (`berts`) have them."""
    special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]") if berts else ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    kept = list(first["model"]["vocab"])
    vocabulary = {text: number for number, text in enumerate([*special, *kept])}
    data = {
        **first,
        "added_tokens": [token(number, text, lstrip=number == 4) for number, text in enumerate(special)],
        "post_processor": around("[CLS]", "[SEP]", (0, 2), 0)
        if berts
        else {
            "type": "RobertaProcessing",
            "sep": ["</s>", 2],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        "model": {**first["model"], "vocab": vocabulary},
    }
    if berts:
        names = ("cls", "pad", "sep", "unk", "mask")
        config = {f"{name}_token": text for name, text in zip(names, special, strict=True)}
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    else:
        named = {
            "bos": "<s>",
            "eos": "</s>",
            "sep": "</s>",
            "cls": "<s>",
            "unk": "<unk>",
            "pad": "<pad>",
            "mask": "<mask>",
        }
        config = {**{f"{name}_token": text for name, text in named.items()}, "tokenizer_class": "RobertaTokenizer"}
    return {"tokenizer.json": json.dumps(data, ensure_ascii=False), "tokenizer_config.json": json.dumps(config)}
