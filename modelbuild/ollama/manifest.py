"""What Ollama's models folder holds: the exact bytes of manifest, config, params and messages, and how to read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from modelbuild.errors import Error
from modelbuild.ollama.go_json import encode_json, parse_object
from modelbuild.tuples import NamedTuple
from modelbuild.words import shown

MODEL = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"
ADAPTER = "application/vnd.ollama.image.adapter"
DRAFT = "application/vnd.ollama.image.draft"
TEMPLATE = "application/vnd.ollama.image.template"
SYSTEM = "application/vnd.ollama.image.system"
LICENSE = "application/vnd.ollama.image.license"
PARAMS = "application/vnd.ollama.image.params"
MESSAGES = "application/vnd.ollama.image.messages"
TEXTS = frozenset((TEMPLATE, SYSTEM, LICENSE, PARAMS, MESSAGES))
"""Kinds of layers that hold texts, not files."""
BESIDE = frozenset((PROJECTOR, ADAPTER, DRAFT))
"""Kinds of layers that hold GGUF files which lie beside the model's."""
CONFIG = "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Layer(NamedTuple):
    """An entry of a manifest.

    from_  the base's name as Ollama displays it, on inherited layers alone
    name   the tensor's, in models of safetensors (MLX), which we pass on and do not make
    """

    media_type: str
    digest: str
    size: int
    from_: str | None = None
    name: str | None = None

    def fields(self) -> dict[str, Any]:
        """The members of the object in JSON, in Ollama's order."""
        named = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return named | {key: text for key, text in (("from", self.from_), ("name", self.name)) if text}


class Manifest(NamedTuple):
    """What a name stands for: a config, and layers in order."""

    config: Layer
    layers: tuple[Layer, ...]

    def encode(self) -> bytes:
        """The bytes that Ollama writes (manifest/manifest.go, WriteManifest)."""
        layers = [layer.fields() for layer in self.layers]
        return encode_json(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.config.fields(), "layers": layers}
        )

    @classmethod
    def parse(cls, data: bytes, path: str | None = None) -> Manifest:
        """Read a manifest that anyone may have written. Raises Error.

        Members that we do not know are passed over, as Ollama does. A digest comes back as `sha256:<lower hex>`.
        """
        value = parse_object(data, "manifest", path)
        _check_spelling(value, ("config", "layers"), path)
        layers = value.get("layers")
        if not isinstance(layers, list | None):
            raise Error("manifest: 'layers' is not a list", path=path)
        return cls(
            _read_layer(value.get("config"), "config", path),
            tuple(_read_layer(layer, f"layers[{index}]", path) for index, layer in enumerate(layers or ())),
        )


class ConfigV2(NamedTuple):
    """What `ollama list` and `ollama show` say of a model without opening it (types/model/config.go), by its names in JSON.

    model_family, model_families  `general.architecture`; model_families has it once for each model layer
    model_type                    `human_number` of the number of weights
    file_type                     `file_type_name` of `general.file_type`
    draft                         of the draft layer: model_format, architecture, tensor_prefix, config
    """

    model_format: str = "gguf"
    model_family: str = ""
    model_families: Sequence[str] = ()
    model_type: str = ""
    file_type: str = ""
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    remote_host: str | None = None
    remote_model: str | None = None
    capabilities: Sequence[str] = ()
    context_length: int = 0
    embedding_length: int = 0
    base_name: str | None = None
    draft: Mapping[str, str] | None = None

    def encode(self) -> bytes:
        """The bytes that Ollama writes. What is empty from `renderer` on is left out; no rootfs."""
        fields = self._asdict() | {"model_families": self.model_families or None}
        config = {key: value for key, value in fields.items() if value or key in _ALWAYS}
        if self.draft is not None:
            config["draft"] = {key: self.draft[key] for key in _DRAFT if self.draft.get(key)}
        return encode_json(config | {"architecture": "amd64", "os": "linux"})


_ALWAYS = ("model_format", "model_family", "model_families", "model_type", "file_type")
_DRAFT = ("model_format", "architecture", "tensor_prefix", "config")


def params_blob(parameters: Mapping[str, Any]) -> bytes:
    """The bytes of a params layer (server/create.go, setParameters)."""
    return encode_json(parameters, sort_maps=True)


def messages_blob(messages: Iterable[tuple[str, str]]) -> bytes:
    """The bytes of a messages layer, from (role, content) in order (server/create.go, setMessages)."""
    return encode_json([{"role": role, "content": content} for role, content in messages])


def human_number(count: int) -> str:
    """A number of weights as Ollama shows it: `8.0B`, `334M`, `1.24M`, `26K` (format/format.go, HumanNumber)."""
    if count >= 1_000_000_000:
        return f"{count // 1_000_000_000}B" if count % 1_000_000_000 == 0 else f"{count / 1e9:.1f}B"
    if count >= 1_000_000:
        return f"{count // 1_000_000}M" if count % 1_000_000 == 0 else f"{count / 1e6:.2f}M"
    return f"{count / 1e3:.0f}K" if count >= 1000 else str(count)


_FILE_TYPES = {
    1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0",
}  # fmt: skip


def file_type_name(file_type: int | None) -> str:
    """The name of a `general.file_type` stored as u32 (fs/ggml/type.go). F32 reads as unknown there, so it does here."""
    return _FILE_TYPES.get(file_type or 0, "unknown")


_DIGEST = r"sha256[:-]([0-9a-fA-F]{64})"


def parse_params(data: bytes, path: str | None = None) -> dict[str, Any]:
    """Read the parameters of a params layer. Raises Error. Numbers are what Go makes of them, float64."""
    return parse_object(data, "params", path)


def _read_layer(value: object, what: str, path: str | None) -> Layer:
    if not isinstance(value, dict):
        raise Error(f"manifest: '{what}' is not an object", path=path)
    _check_spelling(value, ("mediaType", "digest", "size", "from", "name"), path)
    for key in ("mediaType", "digest", "from", "name"):
        if not isinstance(value.get(key, ""), str):
            raise Error(f"manifest: '{key}' of '{what}' is not text", path=path)
    digest = value.get("digest", "")
    match = re.fullmatch(_DIGEST, digest)
    if match is None:
        raise Error(
            f"manifest: '{what}' has an invalid digest, got '{digest[:80]}'", path=path,
            hint="a digest is 'sha256:' followed by 64 hexadecimal digits",
        )  # fmt: skip
    size = value.get("size", 0)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise Error(f"manifest: 'size' of '{what}' is not a number of bytes", path=path)
    digest = "sha256:" + match[1].lower()
    return Layer(value.get("mediaType", ""), digest, size, value.get("from") or None, value.get("name") or None)


def _check_spelling(value: Mapping[str, Any], known: Iterable[str], path: str | None) -> None:
    """Raise Error for a member that Ollama reads, as Go ignores case, and we would pass over."""
    spelled = {name.casefold(): name for name in known}
    for key in value:
        name = spelled.get(key.casefold(), key)
        if name != key:
            raise Error(f"manifest: expected '{name}', got '{shown(key)}'", path=path)


_T = TypeVar("_T")
_ORDER = (TEMPLATE, SYSTEM, LICENSE, PARAMS, MESSAGES)
_ADDED = (ADAPTER, DRAFT, LICENSE)


def compose(base: Sequence[_T], new: Sequence[_T], media_type: Callable[[_T], str]) -> list[_T]:
    """Put the layers of a model in Ollama's order (server/create.go, createModel), whatever stands for a layer.

    base  the layers that FROM gives, in order: inherited ones, or model, projector and what was found out from them
    new   the layers given on top, in any order

    Adapters, drafts and licences are added; template, system and messages replace those of the base. Parameters are
    always written anew, at their place near the end: where the base has any, `new` must hold the merged ones.
    """
    given = {media_type(layer) for layer in new}
    if any(media_type(layer) == PARAMS for layer in base) and PARAMS not in given:
        raise ValueError("the base has parameters, so the parameters must be merged into a new params layer")
    replaced = given - set(_ADDED)
    layers = [layer for layer in base if media_type(layer) not in replaced]
    for kind in (ADAPTER, DRAFT, *_ORDER):
        layers += [layer for layer in new if media_type(layer) == kind]
    return layers


def merge_parameters(base: Iterable[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay parameters over those of the base's params layers; of these the first to name one decides."""
    merged = dict(given)
    for parameters in base:
        for key, value in parameters.items():
            merged.setdefault(key, value)
    return merged
