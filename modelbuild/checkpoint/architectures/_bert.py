"""Encoders, which make embeddings and scores: what BERT and its relatives have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from modelbuild.checkpoint.architectures import Architecture
from modelbuild.checkpoint.architectures.qwen2 import CLS, MEAN, pooling, unpooled
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.config import named_class, number
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

LABELS_LIMIT = 1 << 16
"""Classes of a classifier. The largest real ones have some ten thousand."""

_DENSE = ("pre_classifier.weight", "head.dense.weight", "classifier.dense.weight")

HEADS = {"classifier": "cls", "classifier.dense": "cls", "classifier.out_proj": "cls.output"}
"""The head of a classifier or reranker: a dense layer that it may have, and the one that makes the scores."""

EMBEDDINGS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.LayerNorm": "token_embd_norm",
}

LAYERS = {
    "encoder.layer.N.attention.self.query": "blk.N.attn_q",
    "encoder.layer.N.attention.self.key": "blk.N.attn_k",
    "encoder.layer.N.attention.self.value": "blk.N.attn_v",
    "encoder.layer.N.attention.output.dense": "blk.N.attn_output",
    "encoder.layer.N.attention.output.LayerNorm": "blk.N.attn_output_norm",
    "encoder.layer.N.intermediate.dense": "blk.N.ffn_up",
    "encoder.layer.N.output.dense": "blk.N.ffn_down",
    "encoder.layer.N.output.LayerNorm": "blk.N.layer_output_norm",
}

FUSED = {
    "encoder.layers.N.mixer.Wqkv": "blk.N.attn_qkv",
    "encoder.layers.N.mixer.out_proj": "blk.N.attn_output",
    "encoder.layers.N.norm1": "blk.N.attn_output_norm",
    "encoder.layers.N.mlp.fc1": "blk.N.ffn_up",
    "encoder.layers.N.mlp.fc2": "blk.N.ffn_down",
    "encoder.layers.N.norm2": "blk.N.layer_output_norm",
}
"""Blocks of models for flash attention, with queries, keys and values in one."""

NORMED = """
    token_embd                embd vocab
    token_embd_norm           embd
    token_embd_norm.bias      embd
    blk.N.qkv                 embd values values
    blk.N.attn_output         embd embd
    blk.N.attn_output_norm    embd
    blk.N.attn_output_norm.bias   embd
    blk.N.layer_output_norm   embd
    blk.N.layer_output_norm.bias  embd
"""
"""What the runtime loads of every encoder whose norms follow what they norm."""

PLAIN = f"""
    {NORMED}
    token_types?              embd types
    blk.N.attn_output.bias?   embd
    blk.N.ffn_up              embd ff
    blk.N.ffn_up.bias?        ff
    blk.N.ffn_down            ff embd
    blk.N.ffn_down.bias?      embd
"""

CLASSIFIER = """
    cls?                      embd embd
    cls.bias?                 embd
    cls.output?               embd labels
    cls.output.bias?          labels
"""


class Encoder(Architecture):
    """A model that sees all of a text at once. Its file tells of pooling and labels.

    MAPPED  keys of a configuration -> under which transformers keeps them
    """

    OPTIONAL = r"token_types|cls|cls\.output|cls\.norm"
    NEEDED: ClassVar[tuple[str, ...]] = ("token_embd_norm.bias",)
    FREE_HEADS = False
    ASKS = ("attention.layer_norm_epsilon",)
    REQUIRED = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_epsilon": "layer_norm_eps",
    }
    MAPPED: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def fill(cls, config: dict[str, Any]) -> dict[str, Any]:
        """(transformers, PretrainedConfig.__init__) Labels are numbered; without any there are two."""
        for key, kept in cls.MAPPED.items():
            if key in config:
                config[kept] = config[key]
        labels = config.get("id2label")
        if labels is None:
            count = config.get("num_labels")
            config["id2label"] = {n: f"LABEL_{n}" for n in range(2 if count is None else _count(count))}
        elif not isinstance(labels, dict) or not all(str(key).isdecimal() for key in labels):
            raise Error(f"'id2label' expects an object of numbers and names, got {in_json(labels)}", path="config.json")
        else:
            config["id2label"] = {int(key): name for key, name in labels.items()}
        return config

    @property
    def labels(self) -> list[str]:
        """The names of a classifier's classes, in order; none where they are the two that transformers makes up.

        Source: llama.cpp conversion, BertModel.__init__
        """
        found = self.config.get("id2label") or {}
        if not isinstance(found, dict) or len(found) > LABELS_LIMIT:
            raise Error(f"'id2label' expects an object of at most {LABELS_LIMIT:,} names", path="config.json")
        if len(found) == 2 and (found.get(0) or found.get("0")) == "LABEL_0":
            return []
        names = [name for _, name in sorted(found.items())]
        if not all(isinstance(name, str) for name in names):
            raise Error(f"'id2label' expects names, got {in_json(names)}", path="config.json")
        return names

    def parameters(self, file_type: int) -> Values:
        """(BertModel.set_gguf_parameters)"""
        values = super().parameters(file_type)
        values[f"{self.NAME}.attention.causal"] = encode_value("bool", False)
        if (kind := pooling(self.checkpoint)) is not None:
            values[f"{self.NAME}.pooling_type"] = encode_value("u32", kind)
        if (before := self.config.get("classifier_pooling")) is not None:
            kinds = {"cls": CLS, "mean": MEAN}
            if not isinstance(before, str) or before not in kinds:
                raise Error(
                    f"'classifier_pooling' expects one of {', '.join(kinds)}, got {in_json(before)}", path="config.json"
                )
            values[f"{self.NAME}.classifier.pooling_type"] = encode_value("u32", kinds[before])
        if labels := self.labels:
            values[f"{self.NAME}.classifier.output_labels"] = encode_value("[str]", labels)
        return values

    def doubts(self) -> Iterator[Error]:
        if not named_class(self.checkpoint.config).endswith("ForSequenceClassification"):
            yield from unpooled(self.checkpoint)

    def named(self, source: str) -> str | None:
        """(BertModel.filter_tensors, modify_tensors) Heads of a pre-training go, and so does the pooler."""
        name = source.removeprefix("bert.")
        for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
            if name.endswith(old):
                name = name.removesuffix(old) + new
        if name in ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"):
            return None
        if name.startswith(("cls.predictions", "cls.seq_relationship")):
            return None
        if name in ("classifier.weight", "classifier.bias") and self.labels:
            name = name.replace("classifier", "classifier.out_proj")
        return super().named(name)

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """Raises Error for a classifier of two labels without names, which would be the dense layer before one."""
        head = sources.get("classifier.weight")
        if head is not None and (head.shape[0] != head.shape[-1] or any(name in sources for name in _DENSE)):
            raise Error(
                "the classifier's two labels have no names: llama.cpp takes LABEL_0 and LABEL_1 for those of a model without a classifier",
                path="config.json",
                hint='name them: "id2label": {"0": "no", "1": "yes"}',
            )
        for source, x in sources.items():
            yield self.rename(source), x

    @property
    def token_types(self) -> int:
        """How many kinds of segments there are."""
        return number(self.config, "type_vocab_size") if "type_vocab_size" in self.config else 1


class Offset(Encoder):
    """An encoder whose first positions, up to that of padding, are no text's: its file has the others alone."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """(BertModel._xlmroberta_tokenizer_init)"""
        super().__init__(checkpoint)
        self.offset = 0
        pad = self.config.get("pad_token_id")
        if pad is None:
            return
        if type(pad) is not int or not 0 <= pad < 1 << 20:
            raise Error(f"'pad_token_id' expects the id of a token, got {in_json(pad)}", path="config.json")
        self.offset = 1 + pad
        if "max_position_embeddings" in self.config:
            left = number(self.config, "max_position_embeddings") - self.offset
            if left < 1:
                raise Error(
                    f"'max_position_embeddings' expects more than {self.offset}, since pad_token_id is {pad}",
                    path="config.json",
                )
            self.config = {**self.config, "max_position_embeddings": left}

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        """(RobertaModel.modify_tensors)"""
        for name, x in super().tensors(sources):
            if name == "position_embd.weight" and self.offset:
                if len(x.shape) != 2 or x.shape[0] <= self.offset:
                    raise Error(
                        f"the positions ('position_embeddings') expect more than {self.offset} rows, got {list(x.shape)}",
                        hint="config.json belongs to another checkpoint",
                    )
                x = slice_(x, 0, self.offset, x.shape[0])
            yield name, x


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LABELS_LIMIT:
        raise Error(f"'num_labels' expects a number up to {LABELS_LIMIT:,}, got {in_json(value)}", path="config.json")
    return value
