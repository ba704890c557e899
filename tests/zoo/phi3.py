"""Phi-3: short and long contexts under every name that longrope has had, half of each head rotated, byte pairs as Phi-4 has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import Case

CONFIG: dict[str, Any] = {
    "architectures": ["Phi3ForCausalLM"],
    "model_type": "phi3",
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "original_max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "sliding_window": 2047,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def case(changes: Mapping[str, Any] | None = None, *, biases: bool = False, tied: bool = False, **options: Any) -> Case:
    config = {key: value for key, value in {**CONFIG, **(changes or {})}.items() if value is not ...}
    hidden, forward, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    keys = hidden // heads * (config.get("num_key_value_heads") or heads)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not tied:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for block in range(config["num_hidden_layers"]):
        stem = f"model.layers.{block}."
        shapes[f"{stem}input_layernorm.weight"] = shapes[f"{stem}post_attention_layernorm.weight"] = (hidden,)
        for name, rows, columns in (
            ("self_attn.qkv_proj", hidden + 2 * keys, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_up_proj", 2 * forward, hidden),
            ("mlp.down_proj", hidden, forward),
        ):
            shapes[f"{stem}{name}.weight"] = (rows, columns)
            if biases:
                shapes[f"{stem}{name}.bias"] = (rows,)
    return Case(config, shapes, **options)


def longrope(name: str | None, count: int = 8, **more: Any) -> dict[str, Any]:
    """A context many times as long as that of training; `count` is half of what is rotated of a head."""
    factors = {
        "long_factor": [1 + 0.37 * i for i in range(count)],
        "short_factor": [1, *(1 + 0.05 * i for i in range(1, count))],
    }
    return {
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 1024,
        "rope_scaling": factors | ({} if name is None else {"type": name}) | more,
    }


BYTE_PAIRS: dict[str, Any] = {
    "tokenizer": "byte pairs",
    "files": {"tokenizer_config.json": '{"tokenizer_class": "GPT2Tokenizer"}'},
}

TOKENS = {
    "added_tokens.json": '{"<|far|>": 999, "<|user|>": 280, "\\u2581word": 281}',
    "tokenizer_config.json": """{"tokenizer_class": "LlamaTokenizer", "added_tokens_decoder": {
        "0": {"content": "<unk>", "special": true},
        "1": {"content": "<s>", "special": true},
        "281": {"content": "\\u2581word two", "special": false},
        "282": {"content": "<|assistant|>", "special": false},
        "283": {"content": "<|end|>", "special": true}
    }, "bos_token": "<s>", "add_bos_token": true}""",
    "tokenizer.json": """{"added_tokens": [
        {"id": 1, "content": "<s>", "special": true},
        {"id": 283, "content": "<|end|>", "special": false},
        {"id": 284, "content": "\\u2581three", "special": false}
    ]}""",
}

DATA = Path(__file__).parents[2] / "../shared/data"


def published(name: str, heads: int, head: int) -> Case:
    """A published configuration and tokenizer, for a smaller model. Phi-3's tokenizer.model is Llama 2's."""
    places = [DATA / "configs" / name / file for file in ("generation_config.json", "tokenizer_config.json")]
    places += [DATA / "tokenizers/phi-3" / file for file in ("added_tokens.json", "tokenizer.json")]
    path = DATA / "configs" / name / "config.json"
    if not path.is_file():
        # No such tokenizer: the case is skipped.
        return Case(CONFIG, {}, tokenizer=name)
    config = json.loads(path.read_text())
    small = {
        "hidden_size": heads * head, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": heads,
        "num_key_value_heads": heads,
    }  # fmt: skip
    files = {path.name: path.read_text() for path in places if path.is_file()}
    return case({**config, **small}, tokenizer="llama-2", files=files)


FILLED = (
    "num_key_value_heads", "max_position_embeddings", "original_max_position_embeddings", "rms_norm_eps", "rope_scaling",
    "rope_theta", "sliding_window", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip
"""What transformers fills in."""

CASES = {
    "4k": case(),
    "f16, tied, no window": case({"sliding_window": None, "tie_word_embeddings": True}, tied=True, dtype="f16"),
    "f32": case(dtype="f32"),
    # The runtime knows no window of Phi-3's.
    "narrow window": case({"sliding_window": 127}, logits=False),
    "few key-value heads": case({"num_key_value_heads": 2}),
    "biases": case(biases=True, logits=False),
    "longrope": case(longrope("longrope")),
    "longrope as su, in a context that is long": case(
        longrope("su") | {"max_position_embeddings": 1024, "original_max_position_embeddings": 32}, dtype="f16"
    ),
    "longrope as yarn": case(longrope("yarn"), logits=False),
    "longrope that transformers refuses": case(
        longrope(None, rope_type="yarn", factor=4.0) | {"partial_rotary_factor": 1.0}, logits=False
    ),
    "longrope of another model_type": case(longrope("YaRN") | {"model_type": "unheard-of"}, logits=False),
    "longrope, not longer": case(longrope("longrope") | {"max_position_embeddings": 200}, logits=False),
    "half rotated": case(longrope("longrope", 4) | {"partial_rotary_factor": 0.5}),
    "most rotated": case(
        longrope("longrope", 6)
        | {"partial_rotary_factor": 0.75, "num_key_value_heads": 2, "tie_word_embeddings": True},
        tied=True,
    ),
    "few keys": case(dict.fromkeys(FILLED, ...), logits=False),
    "byte pairs": case(**BYTE_PAIRS),
    "added tokens": case(files=TOKENS, logits=False),
    "Phi-3-mini-4k": published("phi-3-mini-4k-ft", 2, 32),
    "Phi-3-mini-128k": published("phi-3-mini-128k", 1, 96),
    "rows of 40": case({"hidden_size": 40, "intermediate_size": 72}, logits=False),
    "12 blocks in shards": case({"num_hidden_layers": 12}, shards=3),
}
