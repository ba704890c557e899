"""Qwen3: a Qwen2 with norms over the queries and keys of each head; models of embeddings and rerankers, too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from modelbuild.checkpoint.architectures._loads import EMBEDDING, FEED_FORWARD, NORMED_HEADS, OUTPUT
from modelbuild.checkpoint.architectures.qwen2 import Qwen2
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tensor_names import ATTENTION_INPUTS
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import decode_value, encode_value
from modelbuild.tensors.operations.concat import concat
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

_RERANKER = re.compile("qwen3-(?:vl-)?reranker", re.IGNORECASE)
_TITLE = re.compile(f"# {_RERANKER.pattern}", re.IGNORECASE)

RANK = 4
"""A kind of pooling (llama.h, llama_pooling_type)."""
ANSWERS = ("yes", "no")
PROMPT = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
    "<Query>: {query}\n<Document>: {document}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""What Qwen3-Reranker was trained with; the runtime fills it in."""
CLASSIFIER = """
    cls.output?               embd labels
"""
"""A line of LOADS and SHAPES."""


class Qwen3(Qwen2):
    NAME = "qwen3"
    LOADS = EMBEDDING + OUTPUT + CLASSIFIER + NORMED_HEADS + FEED_FORWARD
    CLASSES: ClassVar[tuple[str, ...]] = ("Qwen3ForCausalLM",)
    ALIASES = ("Qwen3Model",)
    MODEL_TYPE = "qwen3"
    DEFAULTS = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    }
    BIASES = ATTENTION_INPUTS
    FREE_HEADS = True
    SHAPES = CLASSIFIER
    NAMES = {
        **Qwen2.NAMES,
        "layers.N.self_attn.q_norm": "blk.N.attn_q_norm",
        "layers.N.self_attn.k_norm": "blk.N.attn_k_norm",
    }

    def sizes(self, block: int) -> Mapping[str, tuple[int, str]]:
        return {"labels": (len(ANSWERS), "answers")}

    @cached_property
    def is_reranker(self) -> bool:
        """Whether the answer that counts is "yes" or "no", by what the model is called (Qwen3Model._is_qwen3_reranker)."""
        names = [self.checkpoint.folder, self.config.get("model_type")]
        if self.config is self.checkpoint.config:
            # Where transformers reads the configuration, this is where it was read from.
            names.append(self.config.get("_name_or_path"))
        card = self.checkpoint.text("README.md") or ""
        return any(_RERANKER.search(str(name)) for name in names) or bool(_TITLE.search(card))

    @property
    def is_tied(self) -> bool:
        """Whether the embedding is the output, too."""
        return bool(self.config.get("tie_word_embeddings"))

    def parameters(self, file_type: int) -> Values:
        """(Qwen3Model.set_gguf_parameters)"""
        values = super().parameters(file_type)
        if self.is_reranker:
            values[f"{self.NAME}.pooling_type"] = encode_value("u32", RANK)
            values[f"{self.NAME}.classifier.output_labels"] = encode_value("[str]", list(ANSWERS))
            values["tokenizer.chat_template.rerank"] = encode_value("str", PROMPT)
            values["tokenizer.chat_templates"] = encode_value("[str]", ["rerank"])
        return values

    def doubts(self) -> Iterator[Error]:
        if not self.is_reranker:
            yield from super().doubts()

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """Of a reranker, the output's rows of the two answers take its place (Qwen3Model.modify_tensors)."""
        if not self.is_reranker:
            yield from super().tensors(sources)
            return
        tied = self.is_tied
        stem, found = "embed_tokens" if tied else "lm_head", False
        for source, x in sources.items():
            answers = stem in source
            if answers:
                found = True
                yield "cls.output.weight", self._answers(source, x)
            if tied or not answers:
                yield self.rename(source), x
        if not found:
            raise Error(
                f"the checkpoint of a reranker lacks '{stem}', whose rows rate the answers",
                path="config.json",
                facts=[("tie_word_embeddings", in_json(tied))],
            )

    def _answers(self, source: str, x: Expression) -> Expression:
        """[tokens, n] -> [2, n]: the rows of "yes" and "no"."""
        tokens = decode_value(self.tokenizer["tokenizer.ggml.tokens"])
        ids = {text: number for number, text in enumerate(tokens) if text in ANSWERS}
        rows = []
        for text in ANSWERS:
            number = ids.get(text)
            if number is None:
                raise Error(f"the tokenizer has no token '{text}', which the answers of a reranker need")
            if len(x.shape) != 2 or number >= x.shape[0]:
                raise Error(f"tensor '{source}' has no row for the token '{text}', {number}, got {list(x.shape)}")
            rows.append(slice_(x, 0, number, number + 1))
        return concat(rows)
