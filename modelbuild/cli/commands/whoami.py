"""Show the public key that Ollama's registry knows you by.

It prints the key, the file that it lies in, and where to add it to your account. Nothing is sent. Other registries know you by
`docker login`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.errors import Error

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    import click

    return [click.Option(["--new-key"], is_flag=True, help="Make a key, if there is none.")]


def run(call: Invocation, new_key: bool = False) -> int:
    from modelbuild.registry import ollama_key

    key = ollama_key.create() if new_key else ollama_key.find()
    if key is None:
        raise _no_key()
    if call.report.as_json:
        call.report.data({"key": key.public, "path": key.path, "settings": ollama_key.SETTINGS})
        return GOOD
    call.report.result(key.public)
    call.report.note(f"made       {key.path}" if new_key else f"the key in {key.path}")
    call.report.note(f"add it at {ollama_key.SETTINGS}, if it is not there yet; then you can push to USER/MODEL")
    return GOOD


def _no_key() -> Error:
    from modelbuild.registry import ollama_key

    hint = "`modelbuild whoami --new-key` makes one, as Ollama's server does on its first start"
    facts = [("looked in", "\n".join(ollama_key.folders()))]
    if (path := ollama_key.unreadable()) is not None:
        return Error(
            "the key of Ollama's service cannot be read by your user", path=path,
            hint=f"{hint}; or use that one: sudo install -D -m 600 -o $USER {path} ~/.ollama/{ollama_key.NAME}",
        )  # fmt: skip
    return Error("there is no key for Ollama's registry", facts=facts, hint=hint)
