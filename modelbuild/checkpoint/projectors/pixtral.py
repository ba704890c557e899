"""Pixtral, the tower of Mistral 3 and of the LLaVA models that have it: images of any size, with a token at the end of each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from modelbuild.checkpoint.config import Config
from modelbuild.checkpoint.projectors import Made, Projector
from modelbuild.checkpoint.projectors._section import Writer
from modelbuild.checkpoint.tables import Line
from modelbuild.errors import Error
from modelbuild.tensors.operations.permute import permute
from modelbuild.tensors.operations.reshape import reshape
from modelbuild.tensors.operations.slice import slice_
from modelbuild.tensors.recipe import Expression

_BLOCK = "vision_tower.transformer.layers.N"
ROW_END = "v.token_embd.img_break"
EMBEDDING = ("embed_tokens.weight", "language_model.model.embed_tokens.weight", "language_model.embed_tokens.weight")
"""What checkpoints call the embedding of the text model, without `model.`."""


class Llava(Projector):
    """`LlavaForConditionalGeneration`, where its tower is Pixtral's."""

    CLASSES = ("LlavaForConditionalGeneration",)
    MODEL_TYPE = "llava"
    VISION = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 1024,
        "patch_size": 16,
        "hidden_act": "gelu",
    }
    TEXT = {"hidden_size": 4096}
    TOWER = ("vision_tower.", "multi_modal_projector.")
    NAMES = {
        "vision_tower.patch_conv": "v.patch_embd",
        "vision_tower.ln_pre": "v.pre_ln",
        f"{_BLOCK}.attention_norm": "v.blk.N.ln1",
        f"{_BLOCK}.ffn_norm": "v.blk.N.ln2",
        f"{_BLOCK}.attention.q_proj": "v.blk.N.attn_q",
        f"{_BLOCK}.attention.k_proj": "v.blk.N.attn_k",
        f"{_BLOCK}.attention.v_proj": "v.blk.N.attn_v",
        f"{_BLOCK}.attention.o_proj": "v.blk.N.attn_out",
        f"{_BLOCK}.feed_forward.gate_proj": "v.blk.N.ffn_gate",
        f"{_BLOCK}.feed_forward.up_proj": "v.blk.N.ffn_up",
        f"{_BLOCK}.feed_forward.down_proj": "v.blk.N.ffn_down",
        "multi_modal_projector.norm": "mm.input_norm",
        "multi_modal_projector.patch_merger.merging_layer": "mm.patch_merger",
        "multi_modal_projector.linear_1": "mm.1",
        "multi_modal_projector.linear_2": "mm.2",
    }
    LOADS = """
        v.patch_embd             patch patch 3 embd
        v.pre_ln                 embd
        v.blk.N.ln1              embd
        v.blk.N.ln2              embd
        v.blk.N.attn_q           embd embd
        v.blk.N.attn_k           embd embd
        v.blk.N.attn_v           embd embd
        v.blk.N.attn_out         embd embd
        v.blk.N.ffn_gate         embd ff
        v.blk.N.ffn_up           embd ff
        v.blk.N.ffn_down         ff embd
        mm.input_norm?           embd
        mm.patch_merger?         merged embd
        mm.1                     embd text
        mm.1.bias?               text
        mm.2                     text text
        mm.2.bias?               text
    """

    @classmethod
    def reads(cls, config: Config) -> bool:
        vision = config.get("vision_config")
        return isinstance(vision, dict) and vision.get("model_type") == "pixtral"

    @classmethod
    def source(cls, name: str) -> str | None:
        short = name.removeprefix("model.")
        return "embed_tokens.weight" if short in EMBEDDING else super().source(name)

    @classmethod
    def is_tower(cls, name: str) -> bool:
        return super().source(name) is not None

    def tensors(self, sources: Mapping[str, Expression]) -> Iterator[Made]:
        """(LlavaVisionModel.modify_tensors)

        Of the embedding the row of the token at the end of a row of patches: the converter leaves it out where the embedding is called
        `language_model.…`, as it is in every checkpoint of today, and the runtime asks for it.
        """
        for name, x in sources.items():
            if name == "embed_tokens.weight":
                yield Made(ROW_END, self._row(x))
                continue
            turned = name.endswith(("q_proj.weight", "q_proj.bias", "k_proj.weight", "k_proj.bias"))
            yield Made(self.rename(name), permute(x, self.heads) if turned else x)

    def _row(self, x: Expression) -> Expression:
        if len(x.shape) != 2 or self.row_end >= x.shape[0]:
            raise Error(
                f"the token [IMG_BREAK] is number {self.row_end}, and the embedding has the shape {list(x.shape)}",
                hint="use the tokenizer that this checkpoint was trained with",
            )
        return reshape(slice_(x, 0, self.row_end, self.row_end + 1), (x.shape[1],))

    @cached_property
    def row_end(self) -> int:
        """The number of the token at the end of a row of patches (LlavaVisionModel.get_token_id)."""
        token = "[IMG_BREAK]"
        decoder = self.checkpoint.tokenizer_config.get("added_tokens_decoder")
        for number, entry in decoder.items() if isinstance(decoder, dict) else ():
            if isinstance(entry, dict) and entry.get("content") == token and number.isdecimal() and len(number) < 9:
                return int(number)
        added: Any = (self.checkpoint.json("tokenizer.json") or {}).get("added_tokens")
        for entry in added if isinstance(added, list) else ():
            if isinstance(entry, dict) and entry.get("content") == token and type(entry.get("id")) is int:
                return max(0, int(entry["id"]))
        raise Error(
            f"the tokenizer has no token {token}, which stands at the end of each row of an image's patches",
            path="tokenizer_config.json",
            hint="take tokenizer.json and tokenizer_config.json from the model that this one was trained from",
        )

    def needs(self) -> Iterator[tuple[Line, str]]:
        yield from super().needs()
        yield Line("", ROW_END, False, ("text",)), ROW_END

    def parameters(self, out: Writer) -> None:
        super().parameters(out)
        out.put("projector_type", "str", "pixtral")
        out.put("vision.attention.layer_norm_epsilon", "f32", self.vision.number("layer_norm_eps", 1e-5))
        act = self.vision.get("hidden_act")
        if act not in ("silu", "gelu"):
            raise self.vision.error("hidden_act", "'silu' or 'gelu'", act)
        out.put(f"use_{act}", "bool", True)
        if self.merge is not None:
            out.put("vision.spatial_merge_size", "u32", self.merge)

    @cached_property
    def merge(self) -> int | None:
        """How many patches make one side of a square that becomes one token; None where nobody says that they do."""
        return self.top.count("spatial_merge_size") if "spatial_merge_size" in self.config else None

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        sizes = super().sizes
        return {**sizes, "merged": sizes["embd"] * (self.merge or 1) ** 2}


class Mistral3(Llava):
    """`Mistral3ForConditionalGeneration`, whose patches are merged in squares."""

    CLASSES = ("Mistral3ForConditionalGeneration",)
    MODEL_TYPE = "mistral3"

    @classmethod
    def reads(cls, config: Config) -> bool:
        vision = config.get("vision_config")
        return isinstance(vision, dict) and vision.get("model_type", "pixtral") == "pixtral"

    @cached_property
    def merge(self) -> int | None:
        return super().merge or (2 if self.is_filled else None)

    @cached_property
    def is_filled(self) -> bool:
        """transformers 4.57.6 does not know the text models of 2026."""
        text = self.config.get("text_config")
        later = isinstance(text, dict) and text.get("model_type") in ("ministral3", "mistral4")
        return super().is_filled and not later
