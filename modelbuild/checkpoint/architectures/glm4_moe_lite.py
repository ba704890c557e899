"""GLM-4.7-Flash: DeepSeek's compressed keys and values, GLM's tokenizer and blocks for further tokens."""

from __future__ import annotations

from functools import cached_property

from modelbuild.checkpoint.architectures import _mla, _numbered_mtp
from modelbuild.checkpoint.architectures._dense_first import SIGMOID
from modelbuild.checkpoint.architectures._mla import Mla
from modelbuild.checkpoint.architectures._numbered_mtp import NumberedMtp
from modelbuild.checkpoint.architectures.deepseek2 import check_rank
from modelbuild.checkpoint.architectures.glm4_moe import TOKENS
from modelbuild.checkpoint.config import block_count
from modelbuild.checkpoint.metadata import Values
from modelbuild.checkpoint.tokenizers import vocabulary as tokenizers
from modelbuild.tensors.formats.gguf import encode_value

_KNOWN = ((47, 154880), (48, 154880))
"""Blocks and tokens of the models whose way to choose experts the runtime knows (src/models/deepseek2.cpp, load_arch_hparams)."""


class Glm4MoeLite(NumberedMtp, Mla):
    """(llama.cpp conversion/glm.py, Glm4MoeLiteModel) transformers 4.57 does not know it: config.json counts as it stands."""

    NAME = "deepseek2"
    LOADS = _mla.LOADS
    MTP = True
    COUNTS_NONE = False
    CLASSES = ("Glm4MoeLiteForCausalLM",)
    NAMES = {**Mla.NAMES, **_numbered_mtp.NAMES}
    OPTIONAL = rf"{Mla.OPTIONAL}|{_numbered_mtp.OPTIONAL}"

    @cached_property
    def tokenizer(self) -> Values:
        return tokenizers.byte_pairs(self.checkpoint, tokenizers.vocabulary_size(self.config), TOKENS)

    def parameters(self, file_type: int) -> Values:
        """(Glm4MoeLiteModel.set_gguf_parameters) Experts are chosen by a sigmoid, which no config.json says."""
        check_rank(self)
        values, key = super().parameters(file_type), f"{self.NAME}.expert_gating_func"
        if key not in values and (block_count(self.config), self.config.get("vocab_size")) not in _KNOWN:
            values |= {key: encode_value("u32", SIGMOID)}
        return self.with_further(values)
