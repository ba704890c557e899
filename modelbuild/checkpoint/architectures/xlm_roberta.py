"""XLM-RoBERTa: a RoBERTa of many languages, with Unigram pieces. Jina's third embeddings, with rotary positions, are of its class."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.architectures._bert import EMBEDDINGS, FUSED, HEADS, LAYERS, PLAIN, Offset
from modelbuild.checkpoint.architectures.bert import Bert
from modelbuild.checkpoint.config import Config
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import unigram as unigrams
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.errors import Error


class XlmRoberta(Offset, Bert):
    CLASSES: ClassVar[tuple[str, ...]] = ("XLMRobertaModel", "XLMRobertaForSequenceClassification")
    MODEL_TYPE = "xlm-roberta"
    DEFAULTS = {**Bert.DEFAULTS, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    NAMES = {**EMBEDDINGS, "emb_ln": "token_embd_norm", **LAYERS, **FUSED, **HEADS}

    @cached_property
    def tokenizer(self) -> Values:
        """(XLMRobertaModel.set_vocab)"""
        return unigrams.unigram(self.checkpoint, tokenizers.vocabulary_size(self.config), self.token_types)

    def named(self, source: str) -> str | None:
        """(XLMRobertaModel.filter_tensors)"""
        return super().named(source.removeprefix("roberta."))

    def doubts(self) -> Iterator[Error]:
        yield from super().doubts()
        yield from unigrams.doubts(self.checkpoint)

    @classmethod
    def reading(cls, config: Config) -> type[XlmRoberta]:
        """(XLMRobertaModel.__init__)"""
        return JinaBert3 if config.get("lora_adaptations") else cls


class JinaBert3(XlmRoberta):
    """One with rotary positions, and adapters for its tasks, which its file does not have."""

    NAME = "jina-bert-v3"
    LOADS = PLAIN
    CLASSES = ()
    MODEL_TYPE = ""
    NAMES = {
        **{name: known for name, known in EMBEDDINGS.items() if known != "position_embd"},
        "emb_ln": "token_embd_norm",
        **FUSED,
    }

    def doubts(self) -> Iterator[Error]:
        yield from super().doubts()
        tasks = self.config["lora_adaptations"]
        count = f" ({len(tasks)})" if isinstance(tasks, list) else ""
        yield Error(
            f"the model's adapters for its tasks{count} are not in the file: it makes the embeddings of no task",
            path="config.json",
            hint="llama.cpp's convert_hf_to_gguf.py writes them to files of their own, for llama-server's --lora",
        )

    def named(self, source: str) -> str | None:
        """(XLMRobertaModel.filter_tensors, modify_tensors)"""
        name = source.removeprefix("roberta.")
        if ".parametrizations." in name:
            if name.endswith((".0.lora_A", ".0.lora_B")):
                return None
            name = name.replace(".parametrizations.", ".").removesuffix(".original")
        return super().named(name)
