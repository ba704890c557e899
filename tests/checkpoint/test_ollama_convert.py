"""What Ollama's own converter made of published models: ours, or each difference spelled (docs/conversion.md lists them)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelbuild.checkpoint import architectures
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import class_of
from modelbuild.checkpoint.tokenizers import vocabulary
from modelbuild.checkpoint.tokenizers.sentencepiece import CONTROL, UNKNOWN, UNUSED, USER_DEFINED
from modelbuild.tensors.formats.gguf import decode_value

DATA = Path(__file__).parents[2] / "../shared/data"

pytestmark = pytest.mark.skipif(
    not (DATA / "ollama-convert").is_dir(), reason="no ../shared/data with Ollama's conversions beside the repository"
)


def made(name: str) -> dict[str, str]:
    """Ollama's conversion: values of metadata as text, digests of lists and tensors."""
    found = json.loads((DATA / f"ollama-convert/{name}.json").read_text())
    assert isinstance(found, dict)
    return found


def listed(values: Sequence[Any]) -> str:
    """Ollama's digest of a list: over its JSON, as Go spells that."""
    text = json.dumps(list(values), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()


def checkpoint(files: Mapping[str, str], **config: Any) -> Checkpoint:
    """A checkpoint without weights; `files` are below ../shared/data."""
    data = {name: (DATA / source).read_bytes() for name, source in files.items()}
    return Checkpoint({"config.json": json.dumps(config).encode(), **data}.get, list(data), "m")


def shown(values: Mapping[str, bytes]) -> dict[str, Any]:
    return {key.removeprefix("tokenizer.ggml."): decode_value(value) for key, value in values.items()}


def holds(name: str, key: str, values: Sequence[Any]) -> bool:
    return listed(values) == made(name)[f"tokenizer.ggml.{key}"]


def whole(values: Sequence[float]) -> list[int]:
    assert all(value == int(value) for value in values)
    return [int(value) for value in values]


LLAMA3 = "Meta-Llama-3-8B-Instruct"


@cache
def llama3() -> dict[str, Any]:
    files = {"tokenizer.json": "tokenizers/llama-3.2/tokenizer.json"}
    files |= {"tokenizer_config.json": "configs/llama-3.2-1b-ft/tokenizer_config.json"}
    return shown(vocabulary.byte_pairs(checkpoint(files), 128256))


def test_llama_3_has_its_merges_types_and_pre_tokenizer() -> None:
    found = llama3()
    assert holds(LLAMA3, "merges", found["merges"])
    assert holds(LLAMA3, "token_type", found["token_type"])
    assert (found["model"], found["pre"]) == (made(LLAMA3)["tokenizer.ggml.model"], made(LLAMA3)["tokenizer.ggml.pre"])
    assert str(found["bos_token_id"]) == made(LLAMA3)["tokenizer.ggml.bos_token_id"]


def test_llama_3_has_its_tokens() -> None:
    """Our tokenizer is Llama 3.2's, which gave names to some of the tokens that Llama 3 kept in reserve."""
    names = {0: "begin_of_text", 1: "end_of_text", 6: "start_header_id", 7: "end_header_id", 9: "eot_id"}
    reserved = (f"reserved_special_token_{number}" for number in range(256))
    of_llama3 = [names.get(number) or next(reserved) for number in range(256)]
    tokens = llama3()["tokens"]
    assert all(token.startswith("<|") for token in tokens[128000:])
    assert holds(LLAMA3, "tokens", [*tokens[:128000], *(f"<|{name}|>" for name in of_llama3)])


@pytest.mark.parametrize("name", ["Mistral-7B-Instruct-v0.2", "Mixtral-8x7B-Instruct-v0.1"])
def test_mistral_has_its_tokens_types_and_scores(name: str) -> None:
    files = {"tokenizer.model": "tokenizers/mistral/tokenizer.model.v1"}
    found = shown(vocabulary.sentencepiece(checkpoint(files), 32000) or {})
    assert holds(name, "tokens", found["tokens"])
    assert holds(name, "token_type", found["token_type"])
    assert holds(name, "scores", whole(found["scores"]))


def test_mistrals_first_three_tokens_are_added_ones_here() -> None:
    """What tokenizer_config.json lists as added goes over the piece; Ollama does not look there."""
    files = {"tokenizer.model": "tokenizers/mistral/tokenizer.model.v1"}
    files |= {"tokenizer_config.json": "configs/mistral-7b/tokenizer_config.json"}
    found = shown(vocabulary.sentencepiece(checkpoint(files), 32000) or {})
    assert (found["token_type"][:3], found["scores"][:3]) == ([CONTROL] * 3, [-1000.0] * 3)
    types, scores = [UNKNOWN, CONTROL, CONTROL, *found["token_type"][3:]], [0, 0, 0, *whole(found["scores"])[3:]]
    assert holds("Mistral-7B-Instruct-v0.2", "tokens", found["tokens"])
    assert holds("Mistral-7B-Instruct-v0.2", "token_type", types)
    assert holds("Mistral-7B-Instruct-v0.2", "scores", scores)


QWEN = "Qwen2.5-0.5B-Instruct"


def padding(count: int) -> list[str]:
    """Ollama counts the tokens that fill up from 0; here they have their ids."""
    return [f"[PAD{number}]" for number in range(count)]


def test_qwen_2_5_has_its_merges_and_tokens_but_for_the_padding() -> None:
    files = {"tokenizer.json": "tokenizers/qwen2.5/tokenizer.json"}
    files |= {"tokenizer_config.json": "configs/qwen2.5-14b-cogito/tokenizer_config.json"}
    found = shown(vocabulary.byte_pairs(checkpoint(files), 151936))
    base, added = 151643, 151665
    assert holds(QWEN, "merges", found["merges"])
    assert found["tokens"][added:] == [f"[PAD{number}]" for number in range(added, 151936)]
    assert holds(QWEN, "tokens", [*found["tokens"][:added], *padding(151936 - added)])

    # A token that looks special is one here, whatever its flag; one that fills up is unused here, not a user's.
    entries = json.loads((DATA / "tokenizers/qwen2.5/tokenizer.json").read_text())["added_tokens"]
    types = [CONTROL if entry["special"] else USER_DEFINED for entry in entries]
    assert set(found["token_type"][added:]) == {UNUSED}
    assert holds(QWEN, "token_type", [*found["token_type"][:base], *types, *[USER_DEFINED] * (151936 - added)])

    # Byte pairs have no scores here.
    assert "scores" not in found
    assert holds(QWEN, "scores", [*range(added), *[-1] * (151936 - added)])
    assert [str(found[key]) for key in ("eos_token_id", "padding_token_id", "pre")] == [
        made(QWEN)[f"tokenizer.ggml.{key}"] for key in ("eos_token_id", "padding_token_id", "pre")
    ]


PHI3 = "Phi-3-mini-128k-instruct"


@cache
def phi3() -> architectures.Architecture:
    """Phi-3's tokenizer.model is Llama 2's."""
    folder = DATA / "configs/phi-3-mini-128k"
    files = {"tokenizer.model": "tokenizers/llama-2/tokenizer.model"}
    files |= {name: f"tokenizers/phi-3/{name}" for name in ("tokenizer.json", "added_tokens.json")}
    files |= {"tokenizer_config.json": "configs/phi-3-mini-128k/tokenizer_config.json"}
    known = checkpoint(files, **json.loads((folder / "config.json").read_text()))
    return architectures.find(class_of(known.config))(known)


def test_phi_3_has_its_tokens_but_for_the_padding() -> None:
    found, base = shown(phi3().tokenizer), shown(
        vocabulary.sentencepiece(checkpoint({"tokenizer.model": "tokenizers/llama-2/tokenizer.model"}), 32000) or {}
    )  # fmt: skip
    assert holds(PHI3, "tokens", [*found["tokens"][:32011], *padding(53)])
    # Ollama takes the pieces as they are, and all that added_tokens.json lists for a user's.
    assert holds(PHI3, "token_type", [*base["token_type"], *[USER_DEFINED] * 64])
    assert holds(PHI3, "scores", [*whole(base["scores"]), *[-1000] * 11, *[-1] * 53])
    assert found["tokens"][:32000] == base["tokens"]
    over = [n for n in range(32000) if found["token_type"][n] != base["token_type"][n]]
    assert {number: (base["token_type"][number], found["token_type"][number]) for number in over} == {
        0: (UNKNOWN, CONTROL),
        2: (CONTROL, USER_DEFINED),
    }


def test_phi_3_has_its_parameters_and_rotary_factors() -> None:
    found = {**phi3().preface(), **phi3().parameters(1), **phi3().tokenizer}
    expected = made(PHI3)
    for key, data in found.items():
        value = decode_value(data)
        if key in expected and not isinstance(value, list):
            shown_there = expected[key]
            if isinstance(value, bool | str):
                assert str(value).lower() == shown_there, key
            else:
                assert float(shown_there) == pytest.approx(value, 1e-6), key
    assert {key for key in expected if key.startswith("phi3.")} <= found.keys()
    for name, data in phi3().constants().items():
        assert hashlib.sha256(data).hexdigest() == expected[name]


def test_llama_3_1s_rotary_frequencies_are_rounded_more_often_here() -> None:
    """Ollama reckons the wavelengths in double; here all is in f32, as in PyTorch."""
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32,
        "rope_theta": 500000.0, "rope_scaling": {**scaling, "original_max_position_embeddings": 8192}, "num_hidden_layers": 32,
    }  # fmt: skip
    known = checkpoint({}, **config)
    data = architectures.find("LlamaForCausalLM")(known).constants()["rope_freqs.weight"]
    assert hashlib.sha256(data).hexdigest().startswith("8b516af9cb5db26e")
    f32, theirs = np.float32, []
    for number in range(0, 128, 2):
        wavelength = f32(2 * math.pi * 500000.0 ** (number / 128))
        part = (f32(8192) / wavelength - f32(1)) / f32(3)
        smooth = f32(1) / ((f32(1) - part) / f32(8) + part)
        theirs.append(f32(1) if wavelength < 2048 else f32(8) if wavelength > 8192 else smooth)
    digest = hashlib.sha256(np.array(theirs, "<f4").tobytes()).hexdigest()
    assert digest == made("Meta-Llama-3.1-8B-Instruct")["rope_freqs.weight"]
    assert np.allclose(np.frombuffer(data, "<f4"), theirs, rtol=1e-6)
