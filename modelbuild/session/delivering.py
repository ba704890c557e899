"""Models sent to a running Ollama server, which makes its own model of them: the blobs that it lacks, then `create`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

from modelbuild.errors import Error
from modelbuild.ollama import manifest
from modelbuild.ollama.api import Client, Refused
from modelbuild.ollama.library import Library, Served
from modelbuild.ollama.manifest import Layer
from modelbuild.ollama.name import displayed
from modelbuild.session.layers import Texts
from modelbuild.tuples import NamedTuple

OLDEST = (0, 5, 5)
"""The first version whose `create` takes files by their digests."""

_FILES = {
    manifest.MODEL: ("files", "model"),
    manifest.PROJECTOR: ("files", "projector"),
    manifest.ADAPTER: ("adapters", "adapter"),
    manifest.DRAFT: ("draft_files", "draft"),
}
"""Media type -> the member of the request that names such files, and how they are called there."""


class Delivered(NamedTuple):
    """What became of a model.

    state    `unchanged` if the server had it, `sent` if it has the same manifest now, `different` if it made another one
    digest   the server's, in hex
    differs  the instructions of a Modelfile that read otherwise there
    """

    name: str
    state: Literal["unchanged", "sent", "different"]
    ours: str
    digest: str
    differs: Sequence[str] = ()


class Listener(Protocol):
    """Hears how it goes."""

    def sending(self, name: str, layer: Layer) -> None: ...

    def sent(self, count: int) -> None: ...

    def status(self, name: str, text: str) -> None: ...


def check(client: Client) -> None:
    """Raise an Error if a server cannot be sent models."""
    version = client.version()
    if version and version < OLDEST and any(version):
        said = ".".join(map(str, version))
        what = f"the Ollama server at {client.at} is too old: version {said}, expected {'.'.join(map(str, OLDEST))} or later"
        raise Error(what, hint="update it; or build into its models folder as its user")


def deliver(client: Client, library: Library, name: str, listener: Listener) -> Delivered:
    """Send the model of a name (`host/namespace/model/tag`). Raises Error; the server keeps what it had then."""
    served = library.served(name)
    shown = displayed(name)
    if served is None:
        raise Error(f"'{shown}' is not in the models folder", path=library.root)
    ours = served.digest.removeprefix("sha256:")
    if client.listed().get(shown.casefold()) == ours:
        return Delivered(shown, "unchanged", ours, ours)
    texts = Texts(library, served)
    body = request(shown, served, texts)
    for layer in served.manifest.layers:
        if layer.media_type in _FILES and not client.has_blob(layer.digest):
            listener.sending(shown, layer)
            client.put_blob(layer.digest, library.blob_path(layer.digest), listener.sent)
    _create(client, shown, body, lambda text: listener.status(shown, text))
    theirs = client.listed().get(shown.casefold())
    if theirs is None:
        raise Error(f"the Ollama server at {client.at} took '{shown}' and does not list it")
    if theirs == ours:
        return Delivered(shown, "sent", ours, theirs)
    return Delivered(shown, "different", ours, theirs, list(_different(client, shown, texts)))


def request(name: str, served: Served, texts: Texts) -> dict[str, Any]:
    """What `POST /api/create` is asked for a manifest. Raises Error for layers that it does not take."""
    body: dict[str, Any] = {"model": name, "stream": True}
    for number, layer in enumerate(served.manifest.layers):
        if layer.media_type in _FILES:
            member, called = _FILES[layer.media_type]
            # Files become layers in the order of their names.
            body.setdefault(member, {})[f"{number:02}-{called}.gguf"] = layer.digest
        elif layer.media_type not in manifest.TEXTS:
            kind = layer.media_type.rpartition(".")[2]
            raise Error(f"'{name}' has a layer of the kind '{kind}', which a server takes only by `ollama pull`")
    if "files" not in body:
        raise Error(f"'{name}' has no GGUF file: a server takes such a model only by `ollama pull`")
    told = {
        "template": texts.text(manifest.TEMPLATE),
        "system": texts.text(manifest.SYSTEM),
        "license": texts.texts(manifest.LICENSE),
        "parameters": texts.parameters(),
        "messages": [{"role": role, "content": content} for role, content in texts.messages()],
        **{key: texts.config().get(key) for key in ("renderer", "parser", "requires")},
    }
    return {**body, **{key: value for key, value in told.items() if value}}


def _create(client: Client, name: str, body: dict[str, Any], status: Callable[[str], None]) -> None:
    """Have the server make a model, to the end: it says `success` last."""
    last = ""
    try:
        for event in client.stream("/api/create", body):
            if (text := str(event.get("status", ""))) != last:
                status(text)
            last = text
    except Refused as refused:
        hint = None
        if "adapters" in body:
            hint = 'recent servers refuse adapters: merge them into the weights (`mode = "merge"`)'
        raise Error(f"the Ollama server at {client.at} refuses '{name}': {refused.what}", hint=hint) from None
    if last != "success":
        raise Error(
            f"the Ollama server at {client.at} did not finish '{name}'", facts=[("it said last", last or "nothing")]
        )


def _different(client: Client, name: str, texts: Texts) -> Iterable[str]:
    """The texts that a server shows otherwise than they were sent."""
    try:
        shown = client.show(name)
    except Error:
        return
    for word, key, media_type in (("TEMPLATE", "template", manifest.TEMPLATE), ("SYSTEM", "system", manifest.SYSTEM)):
        if (text := texts.text(media_type)) is not None and shown.get(key) != text:
            yield word
        elif text is None and word == "TEMPLATE" and shown.get(key) not in (None, "", "{{ .Prompt }}"):
            yield "TEMPLATE (the server has recognized one)"
