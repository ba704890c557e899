"""The base that an adapter names, and the name of the model that it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import scalar
from modelbuild.words import shown

_QUANTIZED = re.compile(r"(-unsloth)?-(bnb-)?[48]-?bit$")
"""What the quantized twins of a model are called, on which adapters are trained: they are no difference."""
_SIZE = re.compile(r"\d+(\.\d+)?[bm]\b", re.IGNORECASE)


_HEADS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
"""Tasks of PEFT's whose models have a head of their own."""


def doubts(adapter: Adapter, metadata: Mapping[str, bytes]) -> list[Error]:
    """Warnings: where an adapter was trained for something else than text, and where both sides name the base, differently."""
    return [*_other_task(adapter), *_other_base(adapter, metadata)]


def _other_task(adapter: Adapter) -> list[Error]:
    if adapter.task.upper() not in _HEADS:
        return []
    return [
        Error(
            f"the adapter was trained for {shown(adapter.task)}, with a head of its own that a model of text has no place for",
            input="adapter_config.json",
            hint="only adapters of causal language models (task_type CAUSAL_LM) answer in text",
        )
    ]


def _other_base(adapter: Adapter, metadata: Mapping[str, bytes]) -> list[Error]:
    name = scalar(metadata, "general.name")
    # A folder's name is not always a model's: one that has an organization or a size is.
    is_said = isinstance(name, str) and (scalar(metadata, "general.organization") or _SIZE.search(name))
    if not adapter.base or not is_said or _plain(adapter.base) == _plain(str(name)):
        return []
    return [
        Error(
            f"the adapter was trained on '{shown(adapter.base)}', and the model is '{shown(name)}'",
            input="adapter_config.json",
            hint="if that is the same model under two names, all is well; else name the base that it was trained on in FROM",
        )
    ]


def _plain(name: str) -> str:
    """The letters and digits of a model's own name, without its organization."""
    last = name.rstrip("/").rpartition("/")[2].casefold().replace(" ", "-").replace("_", "-")
    return re.sub(r"[^a-z0-9]", "", _QUANTIZED.sub("", last)).removeprefix("meta")
