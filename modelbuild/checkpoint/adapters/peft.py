"""What PEFT writes: adapter_config.json and adapter_model.safetensors, also by way of Unsloth, TRL, axolotl and LLaMA-Factory.

Source: PEFT 0.21.2, tuners/lora (LoraConfig, LoraLayer, ParamWrapper), utils/save_and_load.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from modelbuild.checkpoint.adapters.adapter import Adapter, Fused, Pair, Rows
from modelbuild.checkpoint.adapters.patterns import Patterns
from modelbuild.checkpoint.adapters.tensors import floats
from modelbuild.errors import Error
from modelbuild.tensors.operations.transpose import transpose
from modelbuild.tensors.recipe import Expression
from modelbuild.tensors.tensor import Tensor
from modelbuild.words import in_json, listed, shown

CONFIG = "adapter_config.json"

_FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.(?!weight$|bias$)[^.]+)?(?:\.(weight|bias))?")
"""With the adapter's own name, which is in files that were not written by save_pretrained."""
_MAGNITUDE = re.compile(r"(.+)\.lora_magnitude_vector(?:\.(?!weight$)[^.]+)?(?:\.weight)?")
_ROWS = re.compile(r"(.+?)(?:\.token_adapter)?\.trainable_tokens_delta(?:\.default)?")
_WRAPPED = re.compile(r"\.(?:modules_to_save(?:\.default)?|(?:token_adapter\.)?base_layer)(?=\.)")
_SAVED = re.compile(r"\.modules_to_save(?:\.default)?(?=\.)")
_ORIGINAL = re.compile(r"\.original_module(?=\.)")

_ANEW = "the file is not the one that PEFT wrote: get it again from where the adapter was trained"
_VARIANTS = ("use_rslora", "use_dora")
_TRAINING = ("loftq_config", "eva_config", "lora_ga_config", "corda_config", "runtime_config", "megatron_config")
"""Tables that say how an adapter was trained, and nothing of what it is."""
_INITIAL = (None, True, False, "gaussian", "eva", "orthogonal")
"""What `init_lora_weights` may be for the base to have stayed as it was."""


def read(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Adapter:
    """What an adapter changes. Raises Error for a kind that is not LoRA, or a variant of it that we do not know."""
    _refuse(config)
    settings = _Settings(config)
    found = _Parts(tensors)
    _check_whole(config, found)
    pairs: dict[str, Pair] = {}
    fused: list[Fused] = []
    for module, parts in found.factors.items():
        a, b, files = parts.pair(module)
        bare = re.sub(r"(\.base_layer)+$", "", module)
        if bare.endswith(".experts") or settings.parameters_of(bare):
            if module in found.magnitudes or module in found.biases:
                raise Error(
                    f"'{shown(module)}' contains all experts of a block: a magnitude or a bias of it means nothing"
                )
            depth = module.removeprefix(bare).count(".base_layer")
            fused.append(Fused(a, b, bare, depth, settings.parameters_of(bare), files))
            continue
        rank, scale = settings.of(module)
        _check_rank(module, a, b, rank, parts.embedding)
        if is_embedding := parts.embedding:
            a, b = transpose(b), transpose(a)
        lengths = found.magnitudes.pop(module, None)
        pairs[f"{module}.weight"] = Pair(a, b, scale, lengths, files, rounded=is_embedding, columns=is_embedding)
    if found.magnitudes:
        raise Error(
            f"'{next(iter(found.magnitudes))}' has a magnitude and no pair of factors",
            hint="the adapter is not whole: save it again",
        )
    biases = {f"{module}.bias": (x, settings.of(module)[1]) for module, x in found.biases.items()}
    rows = {f"{module}.weight": settings.rows(module, x) for module, x in found.rows.items()}
    copies, version, invocation = frozenset(found.copies), settings.version, settings.invocation
    return Adapter(pairs, biases, found.whole, copies, rows, fused, version, invocation, settings.phrase)


def _refuse(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type", "LORA")
    if str(kind).upper() != "LORA":
        raise _unsupported(f"of PEFT's type '{shown(kind)}'", "peft_type")
    for key, value in config.items():
        variant = key.startswith("use_") and key not in _VARIANTS
        other = key.endswith("_config") and key not in _TRAINING
        if value and (variant or other or key == "layer_replication"):
            raise _unsupported(f"a LoRA with '{shown(key)}'", key)
    initial = config.get("init_lora_weights")
    if initial not in _INITIAL:
        raise Error(
            f"the adapter was begun with init_lora_weights = '{shown(initial)}', which changes the base as well",
            path=CONFIG,
            hint="save it with save_pretrained(…, path_initial_model_for_weight_conversion=…), which makes a plain LoRA of it",
        )


def _unsupported(what: str, key: str) -> Error:
    return Error(
        f"the adapter is {what}, which is not supported yet",
        path=CONFIG,
        facts=[
            ("key", shown(key)),
            ("supported", "LORA, also with use_rslora, use_dora, rank_pattern, alpha_pattern, …"),
        ],
        hint="merge it with PEFT (merge_and_unload), and name the merged folder in FROM",
    )


class _Factors:
    """The tensors of one module."""

    def __init__(self) -> None:
        self.halves: dict[str, Expression] = {}
        self.files: list[str] = []
        self.embedding = False

    def pair(self, module: str) -> tuple[Expression, Expression, tuple[str, ...]]:
        """Raises Error where one half is missing."""
        if len(self.halves) < 2:
            lacking = "B" if "A" in self.halves else "A"
            raise Error(
                f"'{shown(module)}' has half a pair: its lora_{'embedding_' * self.embedding}{lacking} is missing",
                facts=[("found", listed(map(shown, self.files)))],
                hint="the file is not whole: save the adapter again, or get it again",
            )
        a, b = self.halves["A"], self.halves["B"]
        for x, name in ((a, self.files[0]), (b, self.files[-1])):
            if len(x.shape) != 2:
                raise Error(f"tensor '{shown(name)}' expects two dimensions, got {list(x.shape)}")
        return a, b, tuple(self.files)


class _Parts:
    """The tensors of a file, sorted by what they are."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.factors: dict[str, _Factors] = {}
        self.magnitudes: dict[str, Expression] = {}
        self.biases: dict[str, Expression] = {}
        self.rows: dict[str, Expression] = {}
        self.whole: dict[str, Expression] = {}
        self.copies: set[str] = set()
        for file, tensor in _once(tensors).items():
            name = file.replace("base_model.model.", "", 1)
            x = floats(tensor)
            if match := _FACTOR.fullmatch(name):
                self._factor(match, file, x)
            elif match := _MAGNITUDE.fullmatch(name):
                self.magnitudes[match[1]] = x
            elif match := _ROWS.fullmatch(name):
                self.rows[match[1]] = x
            else:
                whole = _WRAPPED.sub("", name)
                self._whole(whole, file, x)
                if ".base_layer." in name:
                    self.copies.add(whole)

    def _factor(self, match: re.Match[str], file: str, x: Expression) -> None:
        module, embedding, half, suffix = match.groups()
        if suffix == "bias":
            self.biases[module] = x
            return
        parts = self.factors.setdefault(module, _Factors())
        if half in parts.halves:
            raise Error(f"two tensors are both lora_{half} of '{shown(module)}'", facts=[("second", shown(file))])
        parts.halves[half] = x
        parts.files.append(file)
        parts.embedding = bool(embedding)

    def _whole(self, name: str, file: str, x: Expression) -> None:
        if name in self.whole:
            raise Error(f"two tensors are both '{shown(name)}'", facts=[("second", shown(file))])
        self.whole[name] = x


def _once(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that count: where the vocabulary has grown, save_pretrained writes a saved embedding three times.

    As in PEFT, the one without the wrapper's name is read; `original_module` is what it replaces.
    """
    once = dict(tensors)
    for name in tensors:
        saved, original = _SAVED.sub("", name), _ORIGINAL.sub("", name)
        if (saved != name and saved in tensors) or (
            original != name and (original in tensors or _ORIGINAL.sub(".modules_to_save", name) in tensors)
        ):
            del once[name]
    return once


def _check_rank(module: str, a: Expression, b: Expression, rank: int, embedding: bool) -> None:
    if a.shape[0] == rank == b.shape[1]:
        return
    turned = a.shape[1] == rank == b.shape[0] and not embedding
    raise Error(
        f"the factors of '{shown(module)}' expect rank {rank:,}, got {a.shape[0]:,} and {b.shape[1]:,}",
        facts=[
            ("lora_A", f"{list(a.shape)}, expected [{rank}, in]"),
            ("lora_B", f"{list(b.shape)}, expected [out, {rank}]"),
        ],
        hint="the factors are transposed: save the adapter with PEFT's save_pretrained"
        if turned
        else f"{CONFIG} is not this adapter's: r, or rank_pattern, says another rank",
    )


def _check_whole(config: Mapping[str, Any], found: _Parts) -> None:
    """Raise Error where the configuration speaks of tensors that the file does not have."""
    modules = [name for name in found.factors if not re.sub(r"(\.base_layer)+$", "", name).endswith(".experts")]
    lacking = [name for name in modules if name not in found.magnitudes]
    lost = [
        ("use_dora", f"no magnitude of '{shown(lacking[0])}'" if lacking else ""),
        ("lora_bias", "no bias of a factor" if modules and not found.biases else ""),
    ]
    for key, what in lost:
        if config.get(key) and what:
            raise Error(
                f"'{key}' is {in_json(config[key])}, and the adapter has {what}",
                path=CONFIG,
                hint="the file is not whole, or the configuration is another adapter's: save it again",
            )


class _Settings:
    """What the configuration says of each module."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.rank = _count(config, "r")
        self.alpha = _number(config, "lora_alpha")
        self.ranks = Patterns(config.get("rank_pattern") or {}, "rank_pattern")
        self.alphas = Patterns(config.get("alpha_pattern") or {}, "alpha_pattern")
        self.parameters = _names(config, "target_parameters")
        self.version = str(config.get("peft_version") or "")
        self.invocation = _tokens(config.get("alora_invocation_tokens") or [], "alora_invocation_tokens")
        self.phrase = _text(config, "invocation_string") if not self.invocation else ""

    def of(self, module: str) -> tuple[int, float]:
        """Rank and factor of a module."""
        rank, alpha = self.ranks.of(module, self.rank), self.alphas.of(module, self.alpha)
        if type(rank) is not int or not 0 < rank < 1 << 20:
            raise Error(f"'rank_pattern' expects whole numbers of 1 or more, got {in_json(rank)}", path=CONFIG)
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < 3e38:
            raise Error(f"'alpha_pattern' expects numbers, got {in_json(alpha)}", path=CONFIG)
        return rank, alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank

    def parameters_of(self, module: str) -> dict[str, tuple[int, float]]:
        """The parameters of a module that the configuration names, with the rank and factor of each.

        A name without its module's (`gate_up_proj`) is one of experts: so PEFT writes what it was told of gate_proj and up_proj, with
        transformers 5.
        """
        named = [name.rpartition(".") for name in self.parameters]
        return {
            parameter: self.of(f"{module}.{parameter}")
            for holder, _, parameter in named
            if module == holder or module.endswith(f".{holder}" if holder else ".experts")
        }

    def rows(self, module: str, values: Expression) -> Rows:
        said = self.config.get("trainable_token_indices")
        if isinstance(said, dict):
            named = [value for key, value in said.items() if module == key or module.endswith(f".{key}")]
            # An output that is tied to the embedding is trained with it, and the configuration names one of them.
            said = next(iter(named), next(iter(said.values())) if len(said) == 1 else None)
        indices = _tokens(said or [], "trainable_token_indices")
        if len(values.shape) != 2 or values.shape[0] != len(indices) or len(set(indices)) != len(indices):
            raise Error(
                f"'trainable_token_indices' names {len(indices):,} tokens, and '{shown(module)}' contains new rows of the "
                f"shape {list(values.shape)}",
                path=CONFIG,
            )
        return Rows(indices, values)


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or not 0 < value < 1 << 20:
        got = f"got {in_json(value)}" if key in config else "which is missing"
        raise Error(f"'{key}' expects a whole number of 1 or more, {got}", path=CONFIG, hint=_ANEW)
    return value


def _number(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 3e38:
        got = f"got {in_json(value)}" if key in config else "which is missing"
        raise Error(f"'{key}' expects a number, {got}", path=CONFIG, hint=_ANEW)
    return value


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key) or ""
    if not isinstance(value, str) or len(value) > 1 << 12:
        raise Error(f"'{key}' expects a short text, got {in_json(value)}", path=CONFIG)
    return value


def _names(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = config.get(key) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value) or len(value) > 1 << 16:
        raise Error(f"'{key}' expects a list of names, got {in_json(value)}", path=CONFIG)
    return tuple(value)


def _tokens(value: Any, key: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(token) is int and 0 <= token < 1 << 31 for token in value):
        raise Error(f"'{key}' expects a list of tokens' numbers, got {in_json(value)}", path=CONFIG)
    return tuple(value)
