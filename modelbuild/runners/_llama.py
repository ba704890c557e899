"""What llama.cpp is asked for a model: the prompt by the template that the model declares, and its parameters as Ollama means them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelbuild.errors import Error
from modelbuild.ollama import prompt
from modelbuild.ollama.chat_templates import recognize
from modelbuild.ollama.go_template import Unsupported
from modelbuild.ollama.template import find_fault
from modelbuild.runners import Full, Model, Piece, Timing
from modelbuild.tuples import NamedTuple

DEFAULTS: Mapping[str, Any] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "repeat_penalty": 1.1,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "num_predict": -1,
    "num_keep": 4,
}
"""What a parameter is if the model does not say (Ollama's api/types.go, DefaultOptions)."""

CONTEXT = 4096
"""Tokens of the context if `num_ctx` does not say; never more than the weights were trained for."""
SMALLEST = 4

_NAMES = {"num_predict": "n_predict", "num_keep": "n_keep"}
_LOADING = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread")
"""Parameters that take effect when the model is loaded."""

COMPLETE, CHAT = "/v1/completions", "/v1/chat/completions"
"""Two requests of llama.cpp's server: with a prompt, and with messages for the chat template of the weights."""


class Way(NamedTuple):
    """How prompts are made.

    template  Go's, which is rendered here; None where llama.cpp renders the chat template of the weights
    """

    about: str
    template: str | None
    warnings: Sequence[Error] = ()


def way(model: Model) -> Way:
    """How the prompts of a model are made so that it gets those that it declares. Raises Error where they cannot be made."""
    own = "the chat template of the weights makes the prompts"
    warnings = []
    if model.template is not None and not model.renderer:
        if model.chat is not None:
            jinja, bos, eos = model.chat
            family = recognize(jinja, bos=bos, eos=eos)
            if family is not None and family.template == model.template:
                return Way(f"{own}; TEMPLATE is the same in Go's language", None)
        why = _not_carried_out(model.template)
        if why is None:
            return Way("TEMPLATE makes the prompts", model.template)
        what = f"the TEMPLATE of '{model.name}' uses {why}, which only Ollama carries out"
        if model.chat is None:
            raise Error(what, hint=f"run it with Ollama: `ollama run {model.name}`")
        warnings = [Error(f"{what}: the chat template of the weights is used instead")]
    if model.chat is not None:
        about = f"{own} (RENDERER {model.renderer} is Ollama's)" if model.renderer else own
        return Way(about, None, warnings)
    if model.renderer:
        what = f"RENDERER {model.renderer} of '{model.name}' is Ollama's, and its weights have no chat template"
        raise Error(what, hint=f"run it with Ollama: `ollama run {model.name}`")
    if model.system:
        what = f"'{model.name}' has neither a TEMPLATE nor a chat template: its SYSTEM has no effect, in Ollama neither"
        warnings.append(Error(what))
    return Way("no template: the model goes on with the text as it is", prompt.PLAIN, warnings)


def _not_carried_out(template: str) -> str | None:
    """What a template does that is not carried out here; None for one that is."""
    if find_fault(template) is not None:
        return "what is not a Go template"
    turns = [("system", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
    try:
        for start in (0, 1):
            prompt.rendered(template, turns[start:])
    except Unsupported as why:
        return str(why)
    return None


def request(model: Model, way: Way, messages: Sequence[tuple[str, str]]) -> tuple[str, dict[str, Any]]:
    """What llama.cpp's server is asked: where, and the body. Raises Error."""
    whole = [*([("system", model.system)] if model.system else []), *model.messages, *messages]
    body = {**options(model), "stream": True, "cache_prompt": True}
    if way.template is None:
        return CHAT, {**body, "messages": [{"role": role, "content": content} for role, content in whole]}
    try:
        return COMPLETE, {**body, "prompt": prompt.rendered(way.template, whole)}
    except Unsupported as why:
        raise Error(f"the TEMPLATE of '{model.name}' uses {why}, which only Ollama carries out") from None


def options(model: Model) -> dict[str, Any]:
    """The parameters of one request, by llama.cpp's names."""
    known = {**DEFAULTS, **model.parameters}
    # To Ollama a negative number means no end, or all of the context.
    known["num_predict"] = max(known["num_predict"], -1)
    if known["repeat_last_n"] < 0:
        known["repeat_last_n"] = context(model)
    found = {_NAMES.get(name, name): known[name] for name in DEFAULTS}
    # 0 keeps everything in Ollama, and -1 is its word for a seed of chance.
    if (seed := known.get("seed", -1)) != -1:
        found["seed"] = seed
    if stop := known.get("stop"):
        found["stop"] = stop
    return found


def context(model: Model) -> int:
    """Tokens of the context; Ollama's is never smaller than 4 (llm/server.go)."""
    asked = max(int(model.parameters.get("num_ctx") or CONTEXT), SMALLEST)
    return min(asked, model.context) if model.context else asked


def about(model: Model, way: Way) -> str:
    """How prompts are made, and the parameters that llama.cpp is not told."""
    lost = sorted(set(model.parameters) - {*DEFAULTS, *_LOADING, "seed", "stop"})
    return f"{way.about}; no effect here: {', '.join(lost)}" if lost else way.about


def pieces(event: Mapping[str, Any]) -> Iterator[Piece]:
    """What one event of a stream adds to the answer. Raises Error for an event that tells of one."""
    if (fault := event.get("error")) is not None:
        raise failed(fault)
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") or choice
        if thought := delta.get("reasoning_content"):
            yield Piece("thought", str(thought))
        if text := delta.get("content") or delta.get("text"):
            yield Piece("answer", str(text))


def failed(fault: Any) -> Error:
    """The error for what llama.cpp's server says in `error`."""
    message = str(fault.get("message", fault)) if isinstance(fault, dict) else str(fault)
    if isinstance(fault, dict) and fault.get("type") == "exceed_context_size_error":
        used, room = fault.get("n_prompt_tokens"), fault.get("n_ctx")
        hint = "`/clear` begins a new conversation; -p num_ctx=N makes more room"
        return Full(f"the conversation does not fit the context: {used} tokens, of {room}", hint=hint)
    return Error(f"llama.cpp: {message}")


def timing(event: Mapping[str, Any]) -> Timing | None:
    """Tokens and seconds, of the last event of an answer."""
    found = event.get("timings")
    if not isinstance(found, dict):
        return None

    def seconds(key: str) -> float | None:
        value = found.get(key)
        return value / 1000 if isinstance(value, int | float) else None

    return Timing(found.get("prompt_n"), seconds("prompt_ms"), found.get("predicted_n"), seconds("predicted_ms"))
