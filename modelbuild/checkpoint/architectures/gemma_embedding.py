"""EmbeddingGemma: a Gemma 3 whose blocks see to both sides, for embeddings of texts.

Source: llama.cpp conversion/gemma.py (EmbeddingGemma), src/models/gemma-embedding.cpp
"""

from __future__ import annotations

from collections.abc import Iterator

from modelbuild.checkpoint.architectures.gemma import require
from modelbuild.checkpoint.architectures.gemma3 import Gemma3
from modelbuild.checkpoint.architectures.qwen2 import modules, pooling, unpooled
from modelbuild.checkpoint.hyperparameters import Writer
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import listed


class GemmaEmbedding(Gemma3):
    NAME = "gemma-embedding"
    CLASSES = ("Gemma3TextModel",)
    MODEL_TYPE = ""
    DEFAULTS = {}
    ASKS = (*Gemma3.ASKS, "attention.sliding_window")

    def parameters(self, file_type: int) -> Values:
        """(EmbeddingGemma.set_gguf_parameters) The window is the whole one that config.json says, not transformers' half."""
        out = Writer(self.NAME, self.checkpoint.config)
        require(out, "attention.sliding_window", "u32", "sliding_window")
        kind = pooling(self.checkpoint)
        if kind is not None:
            out.values[f"{self.NAME}.pooling_type"] = encode_value("u32", kind)
        return super().parameters(file_type) | out.values

    def doubts(self) -> Iterator[Error]:
        yield from unpooled(self.checkpoint)
        if dense := modules(self.checkpoint, "Dense"):
            yield Error(
                "the model has layers behind its pooling, which are left out as llama.cpp's converter does by itself: "
                "its embeddings are not those of sentence-transformers",
                path="modules.json",
                facts=[("left out", listed(dense))],
                hint="to have them too, convert it with convert_hf_to_gguf.py --sentence-transformers-dense-modules, "
                "and name the GGUF file in FROM",
            )
