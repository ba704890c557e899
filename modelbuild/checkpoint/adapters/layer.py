"""An adapter as a layer of its own: the recipe of the file that llama.cpp's convert_lora_to_gguf.py writes, where that is right."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Mapping
from math import prod

from modelbuild.checkpoint import card
from modelbuild.checkpoint.adapters import activated
from modelbuild.checkpoint.adapters.adapter import Adapter, Pair
from modelbuild.checkpoint.adapters.checked import check, check_architecture, check_magnitudes, lacking
from modelbuild.checkpoint.adapters.factors import Factors
from modelbuild.checkpoint.adapters.fused import unfused
from modelbuild.checkpoint.adapters.gguf import ALPHA, EMBEDDING
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import QUANTIZATION_VERSION, encode_value
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.operations.quantize import quantize
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Entry, Expression, Recipe
from modelbuild.words import listed, plural, shown

_MERGE = (
    'merge it into the weights, where all of it counts: in ModelBuild.toml, mode = "merge" of the adapter, '
    'or adapter_mode = "merge" for the ADAPTER of a Modelfile'
)

_FORWARD = (".ffn_gate", ".ffn_up", ".ffn_down")
_PLAIN = ("per_layer_model_proj.weight", "per_layer_token_embd.weight", "position_embd.weight", "token_types.weight")
"""Matrices that the runtime multiplies with, or takes rows from, without adapters (src/models/gemma4.cpp, bert.cpp)."""
_PLAIN_OF = dict.fromkeys(
    ("deepseek2", "glm-dsa"),
    re.compile(r"output\.weight|blk\.\d+\.(attn_(q|q_a|q_b|kv_a_mqa|k_b|v_b)|indexer\..*)\.weight"),
)
"""The same by architecture (src/models/deepseek2.cpp, glm-dsa.cpp)."""


_KEPT = {"minimax-m3": ".indexer."}
"""Architecture -> what is in the names of those whose factors stay in f32 (llama.cpp conversion/minimax.py, tensor_force_quant)."""


def recipe(base: Recipe, adapter: Adapter, described: Checkpoint, *, outtype: str, scale: float) -> Recipe:
    """The recipe of an adapter's file, for the model of a recipe.

    outtype  f32, f16, bf16, q8_0, or `source` or `auto`: as the adapter has it
    scale    a factor of the user's, which goes into the file
    Raises Error for what such a file cannot hold, and where the adapter does not fit the model.
    """
    places = Places(base)
    check_architecture(adapter.placed, places)
    if adapter.whole and not adapter.placed:
        places.of(adapter.whole)
    if unknown := [name for name in adapter.whole if adapter.placed and name not in places.entries]:
        raise lacking(unknown, places)
    _refuse(adapter)
    pairs, constants = placed(adapter, places)
    check(pairs, places, scale)
    _refuse_rows(pairs, places)
    invocation = activated.tokens(adapter, described, places)
    factors = Factors({})
    alpha = _alpha(pairs)
    entries: list[Entry] = []
    for name, pair in pairs.items():
        a, b = pair.a, pair.b
        share = struct.unpack("<f", struct.pack("<f", pair.scale * pair.rank))[0] / alpha if alpha else 1.0
        if share != 1:
            b = factors.times(b, share)
        if name == EMBEDDING:
            a, b = b, transpose(a)
        same = a.dtype == b.dtype
        for half, x in (("lora_a", a), ("lora_b", b)):
            x = x if same else cast("f32", x)
            if x.operation == "dequantize" and outtype == "source":
                x = x.operands[0]
            dtype = "f32" if _KEPT.get(places.architecture, "\0") in name else _type(x, outtype)
            entries.append(Entry(f"{name}.{half}", x.shape, quantize(dtype, x)))
    if adapter.placed:
        # Whatever else the file says is still so.
        metadata = {**adapter.metadata, ALPHA: encode_value("f32", alpha * scale)}
        metadata.pop("general.alignment", None)
        return Recipe(metadata, entries, {**constants, **factors.constants})
    metadata = {
        "general.architecture": encode_value("str", places.architecture),
        "general.type": encode_value("str", "adapter"),
        "adapter.type": encode_value("str", "lora"),
    }
    metadata |= card.general(
        described, card.ParameterCounts(-sum(prod(pair.shape) for pair in pairs.values()), 0, 0, 0)
    )
    metadata[ALPHA] = encode_value("f32", alpha * scale)
    if invocation:
        metadata["adapter.alora.invocation_tokens"] = encode_value("[u32]", list(invocation))
    metadata["general.quantization_version"] = encode_value("u32", QUANTIZATION_VERSION)
    return Recipe(metadata, entries, {**constants, **factors.constants})


def doubts(base: Recipe, made: Recipe) -> list[Error]:
    """A warning of what the runtime does not apply an adapter to (llama-graph.cpp, build_ffn)."""
    types = {entry.name: entry.expression.dtype for entry in base.tensors}
    stems = [
        entry.name.removesuffix(".weight.lora_a") for entry in made.tensors if entry.name.endswith(".weight.lora_a")
    ]
    packed = [
        stem
        for stem in stems
        if stem.endswith(_FORWARD) and types.get(f"{stem}.weight") == "nvfp4" and f"{stem}.scale" in types
    ]
    if not packed:
        return []
    return [
        Error(
            f"the adapter changes {plural(len(packed), 'tensor')} of the feed forward in NVFP4 with scales, "
            "at which llama.cpp's runtime ends itself, unless the model is quantized to another type",
            facts=[("tensors", listed(packed, 6))],
            hint="quantize it to another type, such as q8_0, with allow_requantize = true; or start from the unquantized weights",
        )
    ]


def placed(adapter: Adapter, places: Places) -> tuple[dict[str, Pair], Mapping[str, bytes]]:
    """The pairs by the names of the model's file, in the order of that, and the bytes of leaves that no file holds."""
    if adapter.placed:
        return dict(adapter.pairs), {}
    pairs = {**adapter.pairs, **unfused(adapter, places)}
    check_magnitudes(pairs)
    factors = Factors({name.replace("language_model.", ""): pair for name, pair in pairs.items()})
    found = {}
    for name, x in places.symbols({name: pair.shape for name, pair in pairs.items()}):
        pair = factors.of(x)
        assert pair is not None
        found[name] = pair
    return found, factors.constants


def _refuse(adapter: Adapter) -> None:
    """Raise Error for what a file of an adapter has no place for."""
    dora = [pair.files[0] for pair in adapter.pairs.values() if pair.magnitude is not None]
    whole = [name for name in adapter.whole if name not in adapter.copies]
    for what, names in (
        ("DoRA", dora),
        ("whole tensors (modules_to_save)", whole),
        ("biases (lora_bias)", list(adapter.biases)),
        ("new rows for tokens (trainable_token_indices)", list(adapter.rows)),
    ):
        if names:
            raise Error(
                f"the adapter has {what}, which a layer cannot hold",
                facts=[("tensors", listed(map(shown, names), 6))],
                hint=_MERGE,
            )


def _refuse_rows(pairs: Mapping[str, Pair], places: Places) -> None:
    """Raise Error for pairs of what the runtime does not multiply with, or without adapters: it leaves them out."""
    rows = [name for name in pairs if len(places.entries[name].shape) < 2]
    if rows:
        raise Error(
            f"the adapter changes {plural(len(rows), 'tensor')} of one dimension, to which the runtime applies no layer",
            facts=[("tensors", listed(map(shown, rows), 6))],
            hint=_MERGE,
        )
    of = _PLAIN_OF.get(places.architecture)
    if plain := [name for name in pairs if name in _PLAIN or (of and of.fullmatch(name))]:
        raise Error(
            f"the adapter changes {plural(len(plain), 'tensor')} to which the runtime applies no layer",
            facts=[("tensors", listed(plain, 6))],
            hint=_MERGE,
        )


def _alpha(pairs: Mapping[str, Pair]) -> float:
    """What the file says of all pairs: the runtime multiplies each by alpha / rank. That of most of them."""
    counted = Counter(struct.unpack("<f", struct.pack("<f", pair.scale * pair.rank))[0] for pair in pairs.values())
    alphas = [alpha for alpha, _ in counted.most_common() if alpha]
    return float(alphas[0]) if alphas else 0.0


def _type(x: Expression, outtype: str) -> str:
    """(ModelBase.prepare_tensors)"""
    if outtype == "source":
        return x.dtype
    if outtype == "auto":
        return x.dtype if x.dtype in ("f16", "bf16") else "f16"
    return "f16" if outtype == "q8_0" and x.shape[-1] % 32 else outtype
