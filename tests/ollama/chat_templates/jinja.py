"""Render chat templates with the real Jinja, as transformers does (utils/chat_template_utils.py)."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from tests.ollama.chat_templates.gotemplate import DATE

jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed")
pytest.importorskip("jinja2.sandbox")

BOS, EOS = "<s>", "</s>"


class Refusal(Exception):
    """What `raise_exception` raises."""


def render(template: str, messages: list[dict[str, str]], bos: str = BOS, eos: str = EOS, **more: bool) -> str:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = datetime.date.fromisoformat(DATE).strftime
    names = {"tools": None, "documents": None, "add_generation_prompt": True, "bos_token": bos, "eos_token": eos}
    return str(environment.from_string(template).render(messages=messages, **names, **more))


def _json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _refuse(message: str) -> None:
    raise Refusal(message)
