"""Granite 4: blocks of Mamba-2 with some of attention, dense or with experts; and its models of attention alone, which are Granites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from modelbuild.checkpoint.architectures import Architecture, _mamba2
from modelbuild.checkpoint.architectures._loads import EMBEDDING, LLAMA, OUTPUT
from modelbuild.checkpoint.architectures._mamba2 import Mamba2, listed_kinds, mamba_number
from modelbuild.checkpoint.architectures.granite import Granite
from modelbuild.checkpoint.architectures.granitemoe import GraniteMoe
from modelbuild.checkpoint.config import Config, block_count, number
from modelbuild.checkpoint.hyperparameters import blocks_to_list
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.tensors.recipe import Expression
from modelbuild.words import in_json

CONTEXT = 1 << 20
"""The length that is written for models without positions."""

_DENSE, _EXPERTS = ("ffn_gate", "ffn_up", "ffn_down"), ("ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")


class GraniteHybrid(Mamba2, GraniteMoe):
    """(llama.cpp conversion/granite.py, GraniteHybridModel)

    Nothing is filled in: that converter reads config.json itself, not by transformers.
    """

    NAME = "granitehybrid"
    LOADS = f"""
        {EMBEDDING} {OUTPUT} {_mamba2.MIXER}
        blk.N.attn_norm                   embd
        blk.N.ffn_norm                    embd
        attention blk.N.qkv               queries keys values
        attention blk.N.attn_output       queries embd
        attention blk.N.attn_output.bias? embd
        dense blk.N.ffn_gate              embd ff
        dense blk.N.ffn_up                embd ff
        dense blk.N.ffn_down              ff embd
        experts blk.N.ffn_gate_inp        embd experts
        experts blk.N.ffn_gate_exps?      embd ff experts
        experts blk.N.ffn_up_exps         embd ff experts
        experts blk.N.ffn_down_exps       ff embd experts
        shared blk.N.ffn_gate_shexp       embd ff_shexp
        shared blk.N.ffn_up_shexp         embd ff_shexp
        shared blk.N.ffn_down_shexp       ff_shexp embd
    """
    SHAPES = _mamba2.SHAPES
    ASKS: ClassVar[tuple[str, ...]] = ("attention.layer_norm_rms_epsilon", *_mamba2.ASKS)
    CLASSES = ("GraniteMoeHybridForCausalLM",)
    MODEL_TYPE = "granitemoehybrid"
    DEFAULTS = {}
    NAMES = {**GraniteMoe.NAMES, **_mamba2.names("layers.N.mamba")}
    NEEDED: ClassVar[tuple[str, ...]] = _mamba2.NEEDED
    BIASES = r"blk\.N\.(attn_(q|k|v|output)|ssm_(dt|conv1d))"
    REQUIRED = Architecture.REQUIRED

    @classmethod
    def takes(cls, config: Config) -> bool:
        return False

    @classmethod
    def reading(cls, config: Config) -> type[Architecture]:
        """Models of attention alone are files of another name (GraniteHybridModel.__init__)."""
        if "recurrent" in _kinds(config):
            return GraniteHybrid
        used = config.get("num_experts_per_tok", config.get("num_experts_per_token"))
        return GraniteMoeOfAttention if used else GraniteOfAttention

    def kinds(self) -> list[str]:
        return _kinds(self.config)

    @property
    def inner(self) -> int:
        return mamba_number(self.config, "expand") * number(self.config, "hidden_size")

    @property
    def has_experts(self) -> bool:
        return bool(self.config.get("num_local_experts"))

    def has(self, stem: str, block: int) -> bool:
        part = stem.removeprefix("blk.N.")
        if part in _DENSE or part in _EXPERTS:
            return (part in _EXPERTS) == self.has_experts
        return super().has(stem, block)

    def parameters(self, file_type: int) -> Values:
        """(GraniteHybridModel.set_gguf_parameters)"""
        self._check()
        turned = "recurrent" not in self.kinds()
        values = Granite.parameters(self, file_type) | self.of_shared() | self.mixers() | self.shared_heads()
        values[f"{self.NAME}.rope.scaling.finetuned"] = encode_value("bool", turned)
        if not turned:
            values[f"{self.NAME}.context_length"] = encode_value("u32", CONTEXT)
        return values

    def _check(self) -> None:
        if (act := self.config.get("hidden_act")) not in (None, "silu"):
            raise Error(f"'hidden_act' expects silu, got {in_json(act)}", path="config.json")
        if (expand := mamba_number(self.config, "expand")) != 2 and self.NAME == "granitehybrid":
            raise Error(
                f"'mamba_expand' expects 2, which llama.cpp's runtime computes with, got {expand}", path="config.json"
            )
        head = self.config.get("mamba_d_head", "auto")
        if head != "auto" and (type(head) is not int or head * self.heads != self.inner):
            raise Error(
                f"'mamba_d_head' expects mamba_expand * hidden_size / mamba_n_heads, {self.inner / self.heads:g}, got {in_json(head)}",
                path="config.json",
            )

    def doubts(self) -> Iterable[Error]:
        yield from self.unclamped()
        if "recurrent" in self.kinds() and self.groups > 1:
            yield Error(
                f"llama.cpp's runtime norms the channels of each of {self.groups} groups by themselves, "
                "and transformers all channels together: the model's answers will be others",
                path="config.json",
                facts=[("mamba_n_groups", str(self.groups))],
            )
        rope, turned = self.config.get("position_embedding_type") == "rope", "recurrent" not in self.kinds()
        if rope != turned:
            yield Error(
                f"the model was trained {'with' if rope else 'without'} rotary embeddings, "
                f"and llama.cpp's runtime computes it {'with' if turned else 'without'} them: it will output garbage",
                path="config.json",
                facts=[("position_embedding_type", in_json(self.config.get("position_embedding_type")))],
            )

    def rename(self, source: str) -> str:
        """Without experts, what all tokens share is the feed forward (GraniteMoeModel.modify_tensors)."""
        name = super().rename(source)
        return name if self.has_experts else name.replace("_shexp.", ".")

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[tuple[str, Expression]]:
        for source, x in sources.items():
            yield from self.mixer(source, x) if ".mamba." in source else self.parted(source, x)


class GraniteOfAttention(GraniteHybrid):
    """One without a Mamba mixer and without experts."""

    NAME = "granite"
    MODEL_TYPE = ""
    LOADS = LLAMA
    ASKS = Granite.ASKS
    REQUIRED = Granite.REQUIRED
    NEEDED = ()


class GraniteMoeOfAttention(GraniteOfAttention):
    """One without a Mamba mixer, with experts."""

    NAME = "granitemoe"


def _kinds(config: Config) -> list[str]:
    """What each block is (GraniteHybridModel.get_attn_layers)."""
    if config.get("layer_types") is not None:
        # transformers 5 calls attention full.
        kinds = listed_kinds(config, "layer_types", block_count(config))
        return ["attention" if kind in ("attention", "full_attention") else "recurrent" for kind in kinds]
    blocks = blocks_to_list(config)
    if attention := config.get("attn_layer_indices"):
        if not isinstance(attention, list):
            raise Error(f"'attn_layer_indices' expects a list of numbers, got {in_json(attention)}", path="config.json")
        return ["attention" if number in attention else "recurrent" for number in blocks]
    raise Error("'layer_types' is missing: it says which blocks have attention", path="config.json")
