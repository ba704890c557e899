"""Tokens and the chat template that come with an adapter: they stand over the model's own."""

from __future__ import annotations

from collections.abc import Mapping

from modelbuild.checkpoint import chat
from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.checkpoint.adapters.gguf import EMBEDDING
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.tokenizers.vocabulary import tokens_in
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tuples import NamedTuple

_WHOLE = ("tokenizer.json", "tokenizer.model")
_LISTS = tuple(f"tokenizer.ggml.{name}" for name in ("model", "pre", "tokens", "scores", "token_type", "merges"))


class Over(NamedTuple):
    """The metadata of a model with the tokens of an adapter over its own, and what is doubtful about them."""

    metadata: dict[str, bytes]
    doubts: list[Error]


def over(metadata: Mapping[str, bytes], adapter: Adapter, checkpoint: Checkpoint, places: Places) -> Over:
    """Lay the tokens of an adapter's folder over a model's. Raises Error where there are not as many as the embedding has rows."""
    rows = _rows(adapter, places)
    grown = EMBEDDING in places.entries and rows != places.entries[EMBEDDING].shape[0]
    found, doubts = dict(metadata), []
    if any(name in checkpoint.names for name in _WHOLE):
        try:
            values = places.tokenizer(checkpoint, rows)
        except Error as error:
            if grown:
                raise
            hint = (
                "if the adapter has no tokens of its own, all is well; else copy the base's tokenizer files beside it"
            )
            what = f"the adapter's tokenizer is not taken, but the model's: {error.what}"
            doubts.append(Error(what, input=error.path, hint=hint))
        else:
            kept = {key: value for key, value in found.items() if key not in _LISTS or key in values}
            found = {**kept, **values}
    elif (own := chat.of_checkpoint(checkpoint)) is not None:
        found["tokenizer.chat_template"] = encode_value("str", own.template)
    tokens = tokens_in(found)
    if grown and tokens != rows:
        raise Error(
            f"the adapter brings an embedding of {rows:,} rows, and the tokenizer has {tokens:,} tokens",
            facts=[("the model", f"{places.entries[EMBEDDING].shape[0]:,} rows")],
            hint="copy the tokenizer that the adapter was trained with into its folder",
        )
    key = f"{places.architecture}.vocab_size"
    if grown and key in found:
        found[key] = encode_value("u32", rows)
    return Over(found, doubts)


def _rows(adapter: Adapter, places: Places) -> int:
    """Rows of the embedding to be."""
    for name, x in adapter.whole.items():
        if name.endswith("embed_tokens.weight") and len(x.shape) == 2:
            return x.shape[0]
    entry = places.entries.get(EMBEDDING)
    return entry.shape[0] if entry else 0
