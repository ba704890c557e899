"""BERT: an encoder with learned positions and WordPiece, for embeddings and for rerankers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.architectures._bert import CLASSIFIER, EMBEDDINGS, HEADS, LAYERS, PLAIN, Encoder
from modelbuild.checkpoint.config import named_class
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.checkpoint.tokenizers.wordpiece import word_pieces
from modelbuild.errors import Error
from modelbuild.words import in_json

OTHER_HEADS = ("BertForSequenceClassification", "DistilBertForSequenceClassification")
"""Classifiers whose head the runtime does not have: BERT's pooler is left out, and DistilBERT's ReLU is tanh there."""


class Bert(Encoder):
    NAME = "bert"
    LOADS = f"""
        {PLAIN} {CLASSIFIER}
        position_embd             embd ctx
    """
    CLASSES: ClassVar[tuple[str, ...]] = ("BertModel", "BertForMaskedLM", "BertForSequenceClassification")
    MODEL_TYPE = "bert"
    DEFAULTS = {
        "vocab_size": 30522,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    NAMES = {**EMBEDDINGS, **LAYERS, **HEADS}

    def doubts(self) -> Iterator[Error]:
        yield from super().doubts()
        activation = self.config.get("hidden_act") or self.config.get("activation") or "gelu"
        if "gelu" not in str(activation):
            yield Error(
                f"the model's activation is {in_json(activation)}, but llama.cpp's runtime computes GELU for every model of this kind",
                path="config.json",
                hint="the embeddings will not be those of transformers: use another model",
            )
        if named_class(self.checkpoint.config) in OTHER_HEADS:
            yield Error(
                "the scores of this classifier will not be those of transformers: llama.cpp's runtime computes another head",
                path="config.json",
                hint="use a reranker of the class XLMRobertaForSequenceClassification or ModernBertForSequenceClassification",
            )

    @cached_property
    def tokenizer(self) -> Values:
        """(BertModel.set_vocab)"""
        return word_pieces(self.checkpoint, tokenizers.vocabulary_size(self.config), self.token_types)
