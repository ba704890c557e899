"""File types: the whole-file mixes of llama.cpp, which quant each tensor of a file gets, and the names people write.

The rules are those of llama.cpp's src/llama-quant.cpp (tensor_allows_quantization, llama_tensor_get_type, tensor_type_fallback).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from modelbuild.errors import Error
from modelbuild.tensors import quants
from modelbuild.tensors.tensor import Shape
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean, got, listed

FTYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_K": 10, "q3_K_S": 11, "q3_K_M": 12,
    "q3_K_L": 13, "q4_K_S": 14, "q4_K_M": 15, "q5_K_S": 16, "q5_K_M": 17, "q6_K": 18, "q2_K_S": 21, "iq4_nl": 25,
    "iq4_xs": 30, "bf16": 32, "tq1_0": 36, "tq2_0": 37, "mxfp4_moe": 38,
}  # fmt: skip
"""Canonical spelling -> `general.file_type` (llama.h, enum llama_ftype)."""

FURTHER = {
    "iq2_xxs": 19, "iq2_xs": 20, "iq3_xs": 22, "iq3_xxs": 23, "iq1_s": 24, "iq3_s": 26, "iq3_m": 27, "iq2_s": 28, "iq2_m": 29,
    "iq1_m": 31, "nvfp4": 39, "q1_0": 40, "q2_0": 41,
}  # fmt: skip
"""Types that a file may have, and that none is quantized to here -> `general.file_type`."""

ALIASES = {"q3_k": "q3_K_M", "q4_k": "q4_K_M", "q5_k": "q5_K_M"}

KNOWN = tuple(FTYPES)

NOT_YET = {
    "q1_0": "q2_K_S", "q2_0": "q2_K_S", "iq1_s": "q2_K_S", "iq1_m": "q2_K_S", "iq2_xxs": "q2_K_S", "iq2_xs": "q2_K_S",
    "iq2_s": "q2_K", "iq2_m": "q2_K", "iq3_xxs": "q3_K_S", "iq3_xs": "q3_K_S", "iq3_s": "q3_K_S", "iq3_m": "q3_K_M",
}  # fmt: skip
"""Those of llama-quantize that are not supported -> the nearest that is."""

FLOATS = quants.FLOATS
"""File types that are no quantization: every tensor that may be quantized gets just this type."""

_BY_FOLD = {name.lower(): name for name in KNOWN} | ALIASES


def canonical(name: str) -> str | None:
    """The spelling DESIGN uses for an ftype in any case, or None for a word that is none."""
    return _BY_FOLD.get(name.lower())


def of_number(number: object) -> str | None:
    """The name of a `general.file_type`, whoever made the file; None for one that is not known."""
    return next((name for name, known in (FTYPES | FURTHER).items() if known == number), None)


_ELSEWHERE = {
    "fp32": "f32", "float32": "f32", "fp16": "f16", "float16": "f16", "half": "f16", "bfloat16": "bf16", "int8": "q8_0",
    "8bit": "q8_0", "q8": "q8_0", "int4": "q4_K_M", "4bit": "q4_K_M", "q4": "q4_K_M", "q4_k_xl": "q4_K_M", "q5": "q5_K_M",
    "q6": "q6_K", "q3": "q3_K_M", "q2": "q2_K", "mxfp4": "mxfp4_moe", "copy": "none", "auto": "none",
}  # fmt: skip
"""What other tools call a type -> what llama.cpp calls it, or one that is about as large."""


def unknown(text: str, mixes: Collection[str] = ()) -> Error:
    """The error for a word that is no type of whole files."""
    folded = text.casefold().replace("-", "_")
    if error := not_yet(text):
        return error
    hint = did_you_mean(text, mixes)
    if hint is None and (meant := _ELSEWHERE.get(folded.removeprefix("ud_"))):
        hint = f"did you mean '{meant}'?"
    facts = [("known", listed([*mixes, *KNOWN], 30))]
    return Error(f"unknown type {got(text)}", facts=facts, hint=hint or nearest_known(text))


def not_yet(text: str) -> Error | None:
    """The error for a type that llama.cpp has and we do not; None for any other word."""
    name = text.casefold()
    if name not in NOT_YET:
        return None
    hint = f"take '{NOT_YET[name]}', or make the file with llama-quantize and name it in 'from'"
    return Error(f"llama.cpp's {name} is not supported yet", hint=hint)


def nearest_known(text: str) -> str | None:
    """A hint for a misspelled ftype; of equally near ones the `_M` mix, which is what people mean."""
    import difflib

    folded = text.casefold()
    ranked = sorted(KNOWN, key=lambda name: not name.endswith("_M"))
    near = max(ranked, key=lambda name: difflib.SequenceMatcher(None, name.casefold(), folded).ratio())
    return did_you_mean(text, [near])


def default_quant(ftype: str) -> str:
    """The quant of every tensor that no rule singles out (llama_ftype_get_default_type)."""
    return re.sub(r"_k_[sml]$", "_k", ftype.lower()).removesuffix("_moe")


class Traits(NamedTuple):
    """What the rules ask of a model: its `general.architecture`, its blocks, its experts, and the heads of block 0.

    further  how many of the blocks, the last ones, are for the prediction of several tokens (MTP)
    """

    architecture: str
    blocks: int
    experts: int = 0
    heads: int = 1
    kv_heads: int = 1
    further: int = 0

    def predicts(self, name: str) -> bool:
        """Whether a tensor is part of a block for the prediction of several tokens, which no importance matrix has seen."""
        block = block_of(name)
        return block is not None and block >= self.blocks - self.further

    @property
    def grouped(self) -> bool:
        """Whether four or more heads share a key-value head."""
        return bool(self.kv_heads) and self.heads // self.kv_heads >= 4

    @property
    def is_70b(self) -> bool:
        """Whether llama.cpp takes the model for one of its 70B type, by its block count."""
        if self.architecture == "llama":
            return self.blocks == 80 and self.experts != 8 and self.heads != self.kv_heads
        return self.blocks == {"qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}.get(self.architecture)


class Mix(NamedTuple):
    """What somebody wants otherwise than the rules have it; each field is a flag of llama-quantize.

    tensors  (regular expression, quant): the first that is found in a tensor's name gives its quant (--tensor-type)
    pure     every tensor gets the default quant (--pure)
    """

    tensors: tuple[tuple[str, str], ...] = ()
    pure: bool = False
    output_tensor_type: str | None = None
    token_embedding_type: str | None = None
    leave_output_tensor: bool = False


UNKNOWN_RULES = ("glm5-next", "bailingmoe3")
"""Architectures for which llama-quantize has rules that are not built here."""

_KEPT = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d",
    "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "time_mix_first.weight", "time_mix_w0.weight",
    "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight",
    "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight",
    "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd",
    "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook", "mm.a.code_embd",
)  # fmt: skip
"""Parts of the names of tensors that always keep their type."""


def stripped(shape: Shape) -> Shape:
    """The shape as ggml writes it: without leading ones, and never without a dimension (ggml_n_dims)."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape or (1,)


def quantizable(name: str, shape: Shape) -> bool:
    """Whether llama-quantize may change this tensor's type (tensor_allows_quantization)."""
    if (
        len(stripped(shape)) < 2
        or not name.endswith("weight")
        or name in ("position_embd.weight", "token_types.weight")
    ):
        return False
    return not _is_kept(name)


@lru_cache(1 << 12)
def _is_kept(name: str) -> bool:
    # The rules ask for each tensor several times, and once more for each type that a model is quantized to.
    return any(part in name for part in _KEPT)


def block_of(name: str) -> int | None:
    """The number of the block that a tensor belongs to."""
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else None


def file_order(name: str) -> tuple[int, bytes]:
    """What llama-quantize sorts tensors by: what belongs to no block, then block by block (llama_model_loader, weight_name_comparer)."""
    block = block_of(name)
    return (-1 if block is None else block, name.encode())


def choose(
    ftype: str, model: Traits, tensors: Mapping[str, Shape], *, imatrix: bool = False, mix: Mix | None = None
) -> dict[str, str]:
    """The quant of each tensor that llama-quantize may change; the others keep their type.

    tensors  in file order: the rules count as they go
    imatrix  whether there is an importance matrix, which changes some of the rules
    Raises ValueError for a tensor of a model with experts whose block is none of the model's.
    """
    wanted = _wanted(ftype, model, tensors, imatrix, mix or Mix())
    return {name: fallback or quant for name, (quant, fallback) in wanted.items()}


def fallbacks(
    ftype: str, model: Traits, tensors: Mapping[str, Shape], *, imatrix: bool = False, mix: Mix | None = None
) -> dict[str, tuple[str, str]]:
    """The tensors that `choose` gives another quant than the rules want, since their rows do not divide: both, by name."""
    wanted = _wanted(ftype, model, tensors, imatrix, mix or Mix())
    return {name: (quant, other) for name, (quant, other) in wanted.items() if other and other != quant}


def _wanted(
    ftype: str, model: Traits, tensors: Mapping[str, Shape], imatrix: bool, mix: Mix
) -> dict[str, tuple[str, str | None]]:
    """The quant that the rules want for each tensor, and what it falls back to where they allow that (llama_tensor_get_type)."""
    default = default_quant(ftype)
    chosen: dict[str, tuple[str, str | None]] = {}

    def divided(quant: str, row: int) -> tuple[str, str]:
        return quant, fallback(quant, row)

    rules = _Rules(ftype, model, tensors, imatrix)
    patterns = [(re.compile(pattern, re.IGNORECASE), quant) for pattern, quant in mix.tensors]
    for name, shape in tensors.items():
        if not quantizable(name, shape) or (mix.leave_output_tensor and name == "output.weight"):
            continue
        named = next((quant for pattern, quant in patterns if pattern.search(name)), None)
        category = _category(name)
        if category == "embedding" and mix.token_embedding_type and (name == "token_embd.weight" or named is None):
            chosen[name] = mix.token_embedding_type, None
        elif category == "output" and mix.output_tensor_type:
            chosen[name] = mix.output_tensor_type, None
        elif ftype in FLOATS:
            chosen[name] = default, None
        elif named or mix.pure:
            chosen[name] = divided(named or default, shape[-1])
        elif category == "embedding" and rules.tied and mix.output_tensor_type:
            # What gives out the tokens, where there is no tensor of its own for that.
            chosen[name] = divided(mix.output_tensor_type, shape[-1])
        else:
            chosen[name] = divided(rules.quant(name, shape, default), shape[-1])
    return chosen


def unfit(mix: Mix, names: Iterable[str]) -> str | None:
    """The first pattern of a mix that no tensor's name fits."""
    known = list(names)
    return next((p for p, _ in mix.tensors if not any(re.search(p, name, re.IGNORECASE) for name in known)), None)


def fallback(quant: str, row: int) -> str:
    """The nearest quant whose blocks fit into rows of this length (tensor_type_fallback)."""
    if row % quants.get(quant).block == 0:
        return quant
    coarser = {
        "q2_k": "q4_0", "q3_k": "q4_0", "tq1_0": "q4_0", "tq2_0": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0",
        "iq4_xs": "iq4_nl",
    }.get(quant, quant)  # fmt: skip
    return coarser if row % quants.get(coarser).block == 0 else "f16"


_CATEGORIES = (
    ("attn_qkv.weight", "v"), ("attn_kv_b.weight", "v"), ("attn_v.weight", "v"), ("attn_k.weight", "k"), ("attn_q.weight", "q"),
    ("attn_output.weight", "o"), ("ffn_up", "up"), ("ffn_gate", "gate"), ("ffn_down", "down"),
)  # fmt: skip


def _category(name: str) -> str:
    """What kind of tensor a name stands for (tensor_get_category); `v` for all that llama.cpp treats like attention values."""
    if name == "output.weight":
        return "output"
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return "embedding"
    return next((category for part, category in _CATEGORIES if part in name), "")


class _Rules:
    """llama_tensor_get_type_impl: the rules and what they count."""

    def __init__(self, ftype: str, model: Traits, names: Iterable[str], imatrix: bool) -> None:
        categories = [_category(name) for name in names]
        self.ftype = ftype
        self.model = model
        self.imatrix = imatrix
        self.tied = "output" not in categories
        self.v_count = categories.count("v")
        self.v_seen = 0
        self.down_seen = 0

    def quant(self, name: str, shape: Shape, default: str) -> str:
        category = _category(name)
        if category == "output" or (category == "embedding" and self.tied):
            return self._output(shape[-1], default)
        if self.ftype == "mxfp4_moe":
            return "mxfp4" if len(shape) > 2 and shape[-3] > 1 else "q8_0"
        if category == "embedding":
            return "q4_k" if self.ftype in ("tq1_0", "tq2_0") else default
        if category == "v":
            return self._value(default)
        if category == "k" and self.model.experts == 8:
            return "q8_0"
        if category == "o":
            return self._attention_output(default)
        if category == "down":
            return self._down(name, default)
        if category in ("up", "gate"):
            self._layer(name, 0)
        return default

    def _output(self, row: int, default: str) -> str:
        if self.ftype == "mxfp4_moe" or self.model.architecture == "falcon" or row % quants.get(default).block:
            return "q8_0"
        return "q8_0" if default == "q8_0" else "q6_k"

    def _value(self, quant: str) -> str:
        ftype, seen, grouped = self.ftype, self.v_seen, self.model.grouped
        self.v_seen += 1
        if self.model.experts == 8:
            return "q8_0"
        if ftype == "q2_K":
            quant = "q4_k" if grouped else "q3_k"
        elif ftype == "q2_K_S" and grouped:
            quant = "q4_k"
        elif ftype == "q3_K_M":
            quant = "q5_k" if seen < 2 else "q4_k"
        elif ftype == "q3_K_L" or (ftype in ("iq4_nl", "iq4_xs") and grouped) or (ftype == "q4_K_S" and seen < 4):
            quant = "q5_k"
        elif ftype in ("q4_K_M", "q5_K_M") and _more_bits(seen, self.v_count):
            quant = "q6_k"
        return "q5_k" if self.model.is_70b and quant in ("q3_k", "q4_k") else quant

    def _attention_output(self, quant: str) -> str:
        if self.model.architecture == "falcon":
            return "q4_k" if self.ftype == "q3_K_L" else quant
        if self.model.experts == 8:
            raised = ("q2_K", "q3_K_S", "q3_K_M", "q4_K_S", "q4_K_M", "iq4_nl", "iq4_xs")
            return "q5_k" if self.ftype in raised else quant
        return {"q2_K": "q3_k", "q3_K_M": "q4_k", "q3_K_L": "q5_k"}.get(self.ftype, quant)

    def _down(self, name: str, quant: str) -> str:
        ftype, count, falcon = self.ftype, self.model.blocks, self.model.architecture == "falcon"
        layer = self._layer(name, self.down_seen)
        self.down_seen += 1
        early, more = layer < count // 8, _more_bits(layer, count)
        if ftype == "q2_K":
            return "q3_k"
        if ftype == "q2_K_S":
            return "q4_k" if early else quant
        if ftype == "q3_K_M":
            return "q5_k" if layer < count // 16 else "q4_k" if more or not falcon else "q3_k"
        if ftype == "q3_K_L":
            return "q4_k" if falcon else "q5_k"
        if ftype == "q4_K_M" and falcon:
            return "q6_k" if layer < count // 16 else "q5_k" if more else "q4_k"
        if ftype in ("q4_K_M", "q5_K_M"):
            return "q6_k" if more else quant
        if early and ftype in ("iq4_nl", "iq4_xs") and not self.imatrix:
            return "q5_k"
        if early and ftype == "q4_K_S" and not falcon:
            return "q5_k"
        if early and ftype in ("q4_0", "q5_0") and self.imatrix:
            return "q4_1" if ftype == "q4_0" else "q5_1"
        return quant

    def _layer(self, name: str, seen: int) -> int:
        """The number of a feed-forward tensor's block: counted, or read off the name where there are experts."""
        if self.model.experts <= 1:
            return seen
        block = block_of(name)
        if block is None or block >= self.model.blocks:
            raise ValueError(f"expected a name of block 0 to {self.model.blocks - 1}, 'blk.N.…'")
        return block


def _more_bits(layer: int, count: int) -> bool:
    return layer < count // 8 or layer >= 7 * count // 8 or (layer - count // 8) % 3 == 2
