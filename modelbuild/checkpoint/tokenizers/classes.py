"""The classes of transformers' tokenizers whose ways are known: what each has and adds besides what its files say.

Source: transformers 4.57.6, the modules of these classes.
"""

from __future__ import annotations

from typing import Any

SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""The kinds of special tokens, in transformers' order."""

_BERT = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ROBERTA = {"bos": "<s>", "eos": "</s>", "sep": "</s>", "cls": "<s>", "unk": "<unk>", "pad": "<pad>"}

CLASSES: dict[str, dict[str, Any]] = {
    "PreTrainedTokenizer": {},
    "TokenizersBackend": {},
    "LlamaTokenizer": {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
    "CodeLlamaTokenizer": {"unk": "<unk>", "bos": "<s>", "eos": "</s>"},
    "GemmaTokenizer": {"unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>"},
    "GPT2Tokenizer": {"unk": "<|endoftext|>", "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "GPTNeoXTokenizer": {"unk": "<|endoftext|>", "bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "Qwen2Tokenizer": {"unk": "<|endoftext|>", "eos": "<|endoftext|>", "pad": "<|endoftext|>"},
    "CohereTokenizer": {"unk": "<UNK>", "bos": "<BOS_TOKEN>", "eos": "<|END_OF_TURN_TOKEN|>"},
    "BertTokenizer": _BERT,
    "DistilBertTokenizer": _BERT,
    "RobertaTokenizer": {**_ROBERTA, "mask": {"content": "<mask>", "lstrip": True, "normalized": False}},
    "XLMRobertaTokenizer": {**_ROBERTA, "mask": {"content": "<mask>", "lstrip": True}},
}
"""The classes of transformers whose ways are known here, without a trailing 'Fast': the special tokens that each has by default."""

ADDS_BOS = {
    "LlamaTokenizer": True,
    "CodeLlamaTokenizer": True,
    "GemmaTokenizer": True,
    "CohereTokenizer": True,
    "GPTNeoXTokenizer": False,
}
"""The classes that put a post-processor of their own in place of the file's, and whether it adds BOS where nothing is said."""

MORE_SPECIAL = {"CodeLlamaTokenizer": ("\u2581<PRE>", "\u2581<MID>", "\u2581<SUF>", "\u2581<EOT>")}

CLASS_OF_MODEL = {
    **dict.fromkeys(
        ("llama", "mistral", "mixtral", "phi3", "llava", "idefics3", "mistral3", "arcee"), "LlamaTokenizer"
    ),
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text"), "GemmaTokenizer"),
    **dict.fromkeys(("qwen2", "qwen3", "qwen3_moe", "qwen2_audio"), "Qwen2Tokenizer"),
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"), "Qwen2Tokenizer"),
    **dict.fromkeys(("granite", "granitemoe", "olmo3", "starcoder2"), "GPT2Tokenizer"),
    "olmo2": "GPTNeoXTokenizer",
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
"""model_type -> the class where no file names one (TOKENIZER_MAPPING)."""
