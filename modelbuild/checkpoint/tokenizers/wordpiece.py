"""WordPiece vocabularies, as BERT has them: `##ing` goes on a word, any other piece begins one."""

from __future__ import annotations

from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers.fast import FILE, FastTokenizer
from modelbuild.checkpoint.tokenizers.sentencepiece import CONTROL
from modelbuild.checkpoint.tokenizers.special import special_tokens
from modelbuild.checkpoint.tokenizers.vocabulary import SPACE, named_tokens, tables
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value


def word_pieces(checkpoint: Checkpoint, size: int | None, token_types: int) -> Values:
    """The vocabulary of a WordPiece tokenizer.json, filled up to `size` tokens (None: as many as it has).

    token_types  kinds of segments of which the model has an embedding
    Raises Error for a tokenizer of another kind, which the runtime would take for WordPiece.
    Source: llama.cpp conversion, BertModel.set_vocab
    """
    loaded = FastTokenizer(checkpoint)
    if loaded.kind != "WordPiece":
        raise Error(
            f"expected a WordPiece tokenizer, got {loaded.kind[:40]}, which llama.cpp's converter does not take for this class",
            path=FILE,
            facts=[("architectures", str(checkpoint.config.get("architectures"))[:200])],
            hint="the runtime would split text otherwise than the model: multilingual models of this kind cannot be converted",
        )
    pre, tokens, types = named_tokens(checkpoint, loaded, size)
    values = {"tokenizer.ggml.token_type_count": encode_value("u32", token_types)}
    pieces = [text if kind == CONTROL else _marked(text) for text, kind in zip(tokens, types, strict=True)]
    return values | tables("bert", pre, pieces, types, None) | special_tokens(checkpoint, count=len(tokens))


def _marked(text: str) -> str:
    """A piece with a mark at the beginning of a word, instead of one within it."""
    return text[2:] if text.startswith("##") else SPACE + text
