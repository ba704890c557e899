"""RoBERTa: a BERT with byte pairs, whose positions begin after that of padding."""

from __future__ import annotations

from functools import cached_property

from modelbuild.checkpoint.architectures._bert import Offset
from modelbuild.checkpoint.architectures.bert import Bert
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.formats.gguf import encode_value


class Roberta(Offset, Bert):
    CLASSES = ("RobertaModel", "RobertaForSequenceClassification")
    MODEL_TYPE = "roberta"
    DEFAULTS = {**Bert.DEFAULTS, "vocab_size": 50265, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}

    @cached_property
    def tokenizer(self) -> Values:
        """(RobertaModel.set_vocab)"""
        values = tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config))
        return values | {"tokenizer.ggml.token_type_count": encode_value("u32", self.token_types)}

    def named(self, source: str) -> str | None:
        """(RobertaModel.filter_tensors)"""
        return super().named(source.removeprefix("roberta."))
