"""RENDERER and PARSER: the names by which Ollama's server makes prompts and reads answers, in place of a Go template.

Source: Ollama of 2026-08-21, x/create/client/create.go for checkpoints and server/create.go for GGUF files; the versions are the first
releases with a name in model/renderers/renderer.go or model/parsers/parsers.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import did_you_mean, listed, shown


class Prompting(NamedTuple):
    """How a server talks with a model.

    stop  values for PARAMETER stop, where nobody gives others
    """

    renderer: str
    parser: str
    stop: tuple[str, ...] = ()


def _chosen(mark: str, then: Prompting, other: Prompting) -> Callable[[str], Prompting]:
    """What depends on whether a chat template contains all of these words."""
    return lambda template: then if all(word in template for word in mark.split()) else other


def _same(name: str) -> Prompting:
    return Prompting(name, name)


def _of_deepseek(template: str) -> Prompting | None:
    """Of V2.5 and what followed it; V2 and Kimi K2, whose class is DeepSeek's too, mark turns otherwise.

    Ollama's importer writes deepseek3, which is no renderer.
    """
    marked = not template or "<\uff5cAssistant\uff5c>" in template
    return Prompting("deepseek3.1", "deepseek3") if marked else None


_GEMMA4 = Prompting("gemma4", "gemma4", ("<turn|>",))

_RULES: tuple[tuple[str, Prompting | Callable[[str], Prompting | None]], ...] = (
    (r"^museglimmer|^muse_glimmer$", _same("glimmer")),
    (r"laguna", _chosen("laguna_glm_thinking_v8", _same("poolside-v1"), _same("laguna"))),
    (r"cohere2_?moe", _same("cohere")),
    # An assistant drafts for another model.
    (r"gemma4(?!.*assistant)", _GEMMA4),
    (r"glm-?4", _same("glm-4.7")),
    (r"deepseek", _of_deepseek),
    (
        r"qwen3_5|qwen3next",
        _chosen(
            "resolved_reasoning_effort preserve_thinking",
            Prompting("qwen3.8", "qwen3.5"),
            Prompting("qwen3.5", "qwen3.5"),
        ),
    ),
    # Ollama's importer takes qwen3-coder for these too, which leaves out the images.
    (r"qwen3_?vl", _chosen("<think>", _same("qwen3-vl-thinking"), _same("qwen3-vl-instruct"))),
    (r"qwen3", Prompting("qwen3-coder", "qwen3")),
    (
        r"nemotron_?h",
        lambda template: _same(
            "nemotron-3.5-nano" if "{reasoning effort: efficient}" in template else "nemotron-3-nano"
        ),
    ),
)
"""A pattern in a class or model_type, in lower case -> what it means; the first that fits counts."""

_OF_GGUF = {
    "gemma4": _GEMMA4,
    "laguna": _same("laguna"),
    **dict.fromkeys(("nemotron_h", "nemotron_h_moe", "nemotron_h_omni"), _same("nemotron-3-nano")),
}

_RENDERERS = {
    "qwen3-coder": "0.12.0", "qwen3-vl-instruct": "0.12.6", "qwen3-vl-thinking": "0.12.7", "cogito": "0.13.0", "olmo3": "0.13.3",
    "olmo3-think": "0.13.3", "nemotron-3-nano": "0.13.4", "olmo3-32b-think": "0.13.4", "olmo3.1": "0.13.4",
    "deepseek3.1": "0.13.5", "functiongemma": "0.13.5", "glm-4.7": "0.14.3", "lfm2": "0.14.3", "lfm2-thinking": "0.14.3",
    "glm-ocr": "0.15.5", "qwen3.5": "0.17.1", "gemma4": "0.20.0", "gemma4-large": "0.21.0", "gemma4-small": "0.21.0",
    "laguna": "0.22.1", "cohere": "0.30.10", "ornith": "0.30.11", "poolside-v1": "0.32.3", "glimmer": "0.32.8",
    "nemotron-3.5-nano": "0.32.10", "qwen3.8": "0.32.13",
}  # fmt: skip
_PARSERS = {
    "passthrough": "0.12.0", "qwen3-coder": "0.12.0", "harmony": "0.12.1", "qwen3-vl-instruct": "0.12.6",
    "qwen3-vl-thinking": "0.12.7", "cogito": "0.13.1", "ministral": "0.13.1", "olmo3": "0.13.3", "olmo3-think": "0.13.3",
    "nemotron-3-nano": "0.13.4", "deepseek3": "0.13.5", "functiongemma": "0.13.5", "glm-4.7": "0.14.3", "lfm2": "0.14.3",
    "lfm2-thinking": "0.14.3", "glm-ocr": "0.15.5", "qwen3": "0.16.3", "qwen3-thinking": "0.16.3", "qwen3.5": "0.17.1",
    "gemma4": "0.20.0", "gemma4-no-thinking": "0.20.0", "laguna": "0.22.1", "cohere": "0.30.10", "ornith": "0.30.11",
    "poolside-v1": "0.32.3", "glimmer": "0.32.8", "nemotron-3.5-nano": "0.32.10",
}  # fmt: skip
"""A name -> the first release of Ollama that knows it."""


def of_checkpoint(kinds: Iterable[str], template: str) -> Prompting | None:
    """How to talk with a checkpoint; None where Ollama has no renderer for it.

    kinds     what config.json calls it, in the order of Ollama: `architectures`, `model_type`, `llm_config.model_type`
    template  its chat template; empty where it has none
    """
    for kind in kinds:
        for pattern, found in _RULES:
            if re.search(pattern, kind.lower()):
                return found if isinstance(found, Prompting) else found(template)
    return None


def of_gguf(architecture: str) -> Prompting | None:
    """What `ollama create` fills in for a GGUF file of this `general.architecture`."""
    return _OF_GGUF.get(architecture)


def requires(config: Mapping[str, object]) -> str | None:
    """The first release of Ollama that knows the renderer and the parser of a config; None for names of nobody knows when."""
    since = [_RENDERERS.get(str(config.get("renderer"))), _PARSERS.get(str(config.get("parser")))]
    return max((each for each in since if each), key=lambda each: [int(part) for part in each.split(".")], default=None)


def unknown(key: str, name: str) -> Error | None:
    """A warning about a `renderer` or `parser` that no release of Ollama knows, as far as we know them; None for all others."""
    known = _RENDERERS if key == "renderer" else _PARSERS
    if name in known:
        return None
    return Error(
        f"unknown {key} '{shown(name)}'",
        facts=[("known", listed(sorted(known), 40))],
        hint=did_you_mean(name, known) or f"a server that does not know the {key} cannot run the model",
    )
