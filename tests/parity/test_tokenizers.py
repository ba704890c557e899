"""Tokenizers: our vocabularies split text in llama.cpp's runtime as they do in transformers, which reads every class as we do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers import pretokenizers
from modelbuild.checkpoint.tokenizers.fast import FastTokenizer
from modelbuild.errors import Error

from .. import recipes, zoo
from ..zoo import llama
from .peers import Peers, Process, same

NAMES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def of(folder: str, *names: str) -> dict[str, str]:
    return {name: f"{folder}/{name}" for name in names}


LLAMA2 = of("tokenizers/llama-2", "tokenizer.model")
MISTRAL = {"tokenizer.model": "tokenizers/mistral/tokenizer.model.v1"}
LLAMA3 = of("tokenizers/llama-3.2", "tokenizer.json")
PHI3 = {**LLAMA2, **of("tokenizers/phi-3", "tokenizer.json", "added_tokens.json")}

TOKENIZERS: dict[str, tuple[int, dict[str, str], str]] = {
    # name: vocab_size, file in the checkpoint -> below ../shared/data, whose texts and ids of llama.cpp's belong to it
    "llama-2": (32000, of("tokenizers/llama-2", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"), "llama-spm"),
    "llama-2, tokenizer.model": (32000, LLAMA2, "llama-spm"),
    "llama-2, padded": (32064, LLAMA2, "llama-spm"),
    "llama-2-7b-hf": (
        32000,
        {**of("tokenizers/llama-2", "tokenizer.json", "tokenizer.model"), **of("configs/llama-2-7b-hf", *NAMES[1:3])},
        "llama-spm",
    ),
    "mistral-7b": (32000, {**MISTRAL, **of("configs/mistral-7b", *NAMES[1:3])}, ""),
    "mixtral-8x22b-wizardlm2": (32000, {**MISTRAL, **of("configs/mixtral-8x22b-wizardlm2", *NAMES[1:3])}, ""),
    "mistral v3": (32768, {"tokenizer.model": "tokenizers/mistral/mistral_instruct_tokenizer_240323.model.v3"}, ""),
    "mistral-7b-instruct-v0.3": (
        32768,
        {"tokenizer.model": "configs/mistral-7b-instruct-v0.3/tokenizer.model.v3", **of("configs/mistral-7b-instruct-v0.3", *NAMES[:3])},
        "",
    ),
    "phi-3": (32064, {**PHI3, **of("tokenizers/phi-3", *NAMES[1:3])}, "phi-3"),
    "phi-3-mini-4k-ft": (32064, {**PHI3, **of("configs/phi-3-mini-4k-ft", *NAMES[1:3])}, "phi-3"),
    "phi-3-mini-128k": (32064, {**PHI3, **of("configs/phi-3-mini-128k", *NAMES[1:3])}, "phi-3"),
    "llama-3.2-1b-ft": (128256, {**LLAMA3, **of("configs/llama-3.2-1b-ft", *NAMES[1:3])}, "llama-bpe"),
    "llama-3.1-8b-ft": (128256, {**LLAMA3, **of("configs/llama-3.1-8b-ft", *NAMES[1:3])}, "llama-bpe"),
    "qwen2.5": (151936, {**of("tokenizers/qwen2.5", "tokenizer.json"), **of("configs/qwen2.5-14b-cogito", *NAMES[1:3])}, "qwen2"),
    "stories260K": (512, of("models/stories260K-hf", *NAMES[:3], "tokenizer.model"), ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("runtime"), "runtime.py")
    yield process
    process.close()


def checkpoint(folder: Path, name: str) -> Path:
    """One block with the vocabulary of a tokenizer."""
    size, files, _ = TOKENIZERS[name]
    case = llama.case(
        {"vocab_size": size, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
         "num_key_value_heads": 1, "tie_word_embeddings": True},
        tied=True, tokenizer="",
    )  # fmt: skip
    if name.startswith("phi-3"):
        from ..zoo import phi3

        case = phi3.case({**case.config, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3"}, tokenizer="")
    if not all((zoo.DATA / source).is_file() for source in files.values()):
        pytest.skip("no ../shared/data with this tokenizer beside the repository")
    zoo.write(folder, case)
    for here, source in files.items():
        (folder / here).write_bytes((zoo.DATA / source).read_bytes())
    return folder


def texts(vocabulary: str) -> tuple[list[str], list[list[int]]]:
    """llama.cpp's test texts, and the ids that it keeps for a vocabulary."""
    path = Path(os.environ["MODELBUILD_LLAMA_SRC"]) / "models" / f"ggml-vocab-{vocabulary}.gguf"
    found = path.with_name(path.name + ".inp").read_text().split("\n__ggml_vocab_test__\n")[:-1]
    ids = path.with_name(path.name + ".out").read_text().splitlines()
    return found, [[int(number) for number in line.split()] for line in ids]


SWALLOWS = ("mistral-7b-instruct-v0.3",)
"""Tokenizers from which transformers makes ones that swallow a text's first space (`legacy` of false, `add_prefix_space`)."""


@pytest.mark.peer
@pytest.mark.parametrize("name", TOKENIZERS)
def test_runtime_splits_text_as_transformers_does(name: str, runtime: Process, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", name)
    recipe = recipes.converted(folder, "f16")
    path = tmp_path / "f16.gguf"
    path.write_bytes(recipes.file_of(recipe, recipes.Folder(folder).leaves()))
    vocabulary = TOKENIZERS[name][2]
    found, ids = texts(vocabulary or "llama-spm")
    for special in (False, True):
        answer = runtime.ask(do="tokenize", folder=str(folder), model=str(path), texts=found, special=special)
        assert answer["error"] is None, answer["error"]
        for number, (text, ours) in enumerate(zip(found, answer["llama"], strict=True)):
            if name in SWALLOWS and text.startswith(" "):
                assert ours[special:] == answer["sentencepiece"][number], text
            else:
                assert ours == answer["transformers"][number], (text, special)
        if vocabulary and not special:
            assert answer["llama"] == ids


CLASSES = (
    "PreTrainedTokenizer", "PreTrainedTokenizerFast", "LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "GemmaTokenizer",
    "GemmaTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast",
    "CohereTokenizerFast",
)  # fmt: skip

SETTINGS: dict[str, dict[str, Any]] = {
    "nothing else": {},
    "special tokens": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": None, "pad_token": "<|endoftext|>"},
    "flags": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "add_bos_token": True, "add_eos_token": True},
    "more special tokens": {"bos_token": "<|im_start|>", "add_bos_token": False, "additional_special_tokens": ["<|x|>"]},
    "spaces cleaned up": {"bos_token": "<|im_start|>", "clean_up_tokenization_spaces": True, "additional_special_tokens": ["a ."]},
    "of the model": {"tokenizer_class": ...},
}  # fmt: skip


def small(folder: Path, settings: dict[str, Any], model_type: str = "llama") -> Path:
    """A checkpoint with the zoo's byte pairs."""
    config = {"vocab_size": 320, "num_hidden_layers": 1, "model_type": model_type}
    text = json.dumps({key: value for key, value in settings.items() if value is not ...})
    return zoo.write(folder, llama.case(config, tokenizer="byte pairs", files={"tokenizer_config.json": text}))


@pytest.mark.peer
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", CLASSES)
def test_tokenizer_of_every_class_is_llama_cpps(
    name: str, settings: str, peers: Peers, runtime: Process, tmp_path: Path
) -> None:
    folder = small(tmp_path / "model", {"tokenizer_class": name, **SETTINGS[settings]})
    compare(folder, peers, runtime, tmp_path)


MODEL_TYPES = (
    "llama", "mistral", "mixtral", "phi3", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3", "qwen3_moe", "olmo2", "olmo3", "gpt_oss",
)  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_class_of_a_model_is_transformers(model_type: str, peers: Peers, runtime: Process, tmp_path: Path) -> None:
    compare(small(tmp_path / "model", {"bos_token": "<|im_start|>"}, model_type), peers, runtime, tmp_path)


def compare(folder: Path, peers: Peers, runtime: Process, scratch: Path) -> None:
    """Compare the files, and by what the pre-tokenizer would be known if it were."""
    recipe = recipes.converted(folder, "f16", "gpt-2")
    same(recipes.file_of(recipe, recipes.Folder(folder).leaves()), peers.convert(folder, "f16", "gpt-2"), scratch)
    answer = runtime.ask(do="hash", folder=str(folder), text=pretokenizers.TEXT)
    loaded = FastTokenizer(Checkpoint(lambda name: (folder / name).read_bytes() if (folder / name).is_file() else None))
    with pytest.raises(Error) as caught:
        loaded.pre_tokenizer()
    assert dict(caught.value.facts)["hash"] == answer["hash"]
