"""The tokens after which an activated LoRA is switched on: the runtime leaves the model as it is until they come.

Source: llama.cpp convert_lora_to_gguf.py (set_gguf_parameters), PEFT 0.21.2 tuners/lora/config.py (alora_invocation_tokens)
"""

from __future__ import annotations

from collections.abc import Sequence

from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.checkpoint.adapters.files import CONFIG, TOKENIZER
from modelbuild.checkpoint.adapters.gguf import EMBEDDING
from modelbuild.checkpoint.adapters.places import Places
from modelbuild.checkpoint.checkpoint import Checkpoint
from modelbuild.errors import Error
from modelbuild.words import in_json, listed, shown

_SAY = "add the list of its tokens as alora_invocation_tokens"


def tokens(adapter: Adapter, described: Checkpoint, places: Places) -> Sequence[int]:
    """The tokens of an adapter, also where it has no more than their text; none of one that is always on.

    described  the small files of the adapter, a tokenizer among them if there is one
    Raises Error where the text cannot be made tokens, or where the model has no such tokens.
    """
    found = adapter.invocation or (_of_text(adapter.phrase, described) if adapter.phrase else ())
    rows = places.entries[EMBEDDING].shape[0] if EMBEDDING in places.entries else None
    if beyond := [token for token in found if rows is not None and token >= rows]:
        raise Error(
            "the adapter is switched on by tokens that the model does not have",
            facts=[("tokens", listed(map(str, beyond), 6)), ("the model", f"{rows:,} tokens")],
            hint="the adapter is another model's; name the base that it was trained on in FROM",
        )
    return found


def refuse_merge(adapter: Adapter) -> None:
    """Raise Error for an adapter that is not always on: in the weights it would be."""
    if adapter.invocation or adapter.phrase:
        raise Error(
            "the adapter is an activated LoRA, which is switched on by tokens of the prompt: merged, it would always be on",
            facts=[
                ("switched on by", shown(adapter.phrase) if adapter.phrase else listed(map(str, adapter.invocation), 6))
            ],
            hint='say mode = "layer" for it; the runtime switches it on',
        )


def _of_text(text: str, described: Checkpoint) -> Sequence[int]:
    from modelbuild.checkpoint.tokenizers.fast import FastTokenizer

    if TOKENIZER not in described.names or described.read(TOKENIZER) is None:
        raise Error(
            "'invocation_string' comes without alora_invocation_tokens, and there is no tokenizer.json to make tokens of it",
            path=CONFIG,
            facts=[("looked for", f"{TOKENIZER} beside the adapter, and in the base if that is a folder of weights")],
            hint=f"copy {TOKENIZER} from the base to beside the adapter, or {_SAY}",
        )
    # Without the first, as that converter has it: the adapter is on after it, if it is not the beginning of text.
    found = FastTokenizer(described).encoded(text)[1:]
    if not found:
        raise Error(
            f"'invocation_string' expects a text of two tokens or more, got {in_json(text)}", path=CONFIG, hint=_SAY
        )
    return found
