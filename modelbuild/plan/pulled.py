"""Models of models folders as bases: the manifest that a name is pinned to, and what it hands down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from modelbuild.checkpoint.chat import Chat
from modelbuild.digest import sha256
from modelbuild.engine.graph import Source
from modelbuild.errors import Error, Errors
from modelbuild.files import reason
from modelbuild.observed import Observed
from modelbuild.ollama import manifest
from modelbuild.ollama.library import Library
from modelbuild.ollama.name import HOST, Name
from modelbuild.plan import seen
from modelbuild.plan.seen import Seen, form
from modelbuild.plan.weights import WeightsReader
from modelbuild.project.lock import Outside, Pins
from modelbuild.project.variant import From
from modelbuild.tuples import NamedTuple
from modelbuild.words import nearest


class Pulled(NamedTuple):
    """A model of a models folder.

    name         as Ollama displays it
    digest       of its manifest
    blobs        (media type, file) of its layers, in order
    unquantized  whether its weights are floats
    config       what its config hands down; under `base` all of it
    chat         the chat template of its weights
    template     its TEMPLATE
    """

    name: str
    digest: str
    blobs: tuple[tuple[str, Source], ...]
    unquantized: bool
    config: Mapping[str, Any]
    parameters: Mapping[str, Any]
    chat: Chat | None = None
    template: str | None = None


class NotPulled(Errors):
    """What FROM names is not here, and a build fetches it."""

    def __init__(
        self, line: From, wanted: Outside, facts: Sequence[tuple[str, str]] = (), hint: str | None = None
    ) -> None:
        what = f"'{line.text}' is not pulled yet"
        super().__init__([line.place.error(what, facts=facts, hint=hint or "`modelbuild` pulls it as part of a build")])
        self.wanted = wanted


Wrote = Callable[[str, str, str], bool]
"""Tells whether a build of the project put a manifest into a models folder: the folder, the path of the name, the manifest's digest.

It is no look. A plan is kept where the answer comes from, it looks at the manifest, and its own builds alone change the answer.
"""


def nobody(root: str, name: str, digest: str) -> bool:
    """Where nothing is known of earlier builds."""
    return False


class PulledModels:
    """Finds names in models folders, each name as the lock pins it.

    cache  where is kept what was seen of manifests; None: nowhere
    """

    def __init__(
        self,
        observed: Observed,
        weights: WeightsReader,
        libraries: Sequence[str],
        pins: Pins,
        cache: str | None,
        wrote: Wrote = nobody,
    ) -> None:
        self.libraries = [Library(root) for root in libraries]
        self._observed = observed
        self._weights = weights
        self._pins = pins
        self._cache = cache
        self._wrote = wrote
        self._found: dict[Name, Pulled] = {}

    def knows(self, name: Name) -> bool:
        """Whether a name is pinned, or stands in a models folder."""
        return name.display() in self._pins or self._stands(name) is not None

    def _stands(self, name: Name) -> Library | None:
        return next(
            (each for each in self.libraries if self._observed.kind(each.manifest_path(name.path())) == "file"), None
        )

    def read(self, line: From, name: Name) -> Pulled:
        """The model of a name. Raises NotPulled for what has to be fetched, and Error for what is damaged."""
        if name not in self._found:
            self._found[name] = self._read(line, name)
        return self._found[name]

    def wanted(self, line: From, name: Name, digest: str | None = None) -> NotPulled:
        """The error for a name whose model is to be fetched."""
        facts = [("registry", name.host)] if name.host != HOST else []
        near = None if digest else self._near(line.text)
        hint = f"`modelbuild` pulls it as part of a build; or did you mean '{near}', which is here?" if near else None
        return NotPulled(line, Outside(name.display(), digest), facts, hint)

    def _near(self, text: str) -> str | None:
        names = {name.display() for library in self.libraries for name in library.names()}
        return nearest(text, [*names, *(name.removesuffix(":latest") for name in names)])

    def _read(self, line: From, name: Name) -> Pulled:
        home, digest, data = self._manifest(line, name)
        if digest is None:
            raise self.wanted(line, name)
        if home is not None and name.display() not in self._pins and self._wrote(home.root, name.path(), digest):
            raise _left_over(line, name, home)
        reading = _Reading(self, line, name, digest, home)
        return reading.of(_parsed(line, data if data is not None else reading.seen.manifest))

    def last_seen(self, digest: str) -> Seen | None:
        """What was seen of a manifest. Only looked at where something is missing: in a build that is the exception."""
        return seen.look(self._cache, digest, self._observed)

    def _manifest(self, line: From, name: Name) -> tuple[Library | None, str | None, bytes | None]:
        """Where a name's manifest stands, its digest and its bytes: of what it is pinned to, else of the first one."""
        pin = self._pins.get(name.display())
        for library in self.libraries:
            for place in seen.places(name.display(), pin) if pin else [name.path()]:
                path = library.manifest_path(place)
                if self._observed.kind(path) != "file":
                    continue
                try:
                    data = self._observed.read(path)
                except OSError as error:
                    if pin is not None:
                        continue
                    raise _unreadable(line, reason(error), path) from error
                if pin is None:
                    _parsed(line, data, path)
                if pin in (None, sha256(data)):
                    return library, sha256(data), data
        return None, pin, None

    def blob(self, digest: str, home: Library | None) -> str | None:
        """The file of a blob, in the folder that its manifest stands in or in another one."""
        for library in ([home] if home else []) + self.libraries:
            path = library.blob_path(digest)
            if self._observed.kind(path) == "file":
                return path
        return None


class _Reading:
    """Reads one model: its blobs, or in their place what is known of them."""

    def __init__(self, models: PulledModels, line: From, name: Name, digest: str, home: Library | None) -> None:
        self._models = models
        self._line = line
        self._name = name
        self._digest = digest
        self._home = home

    @cached_property
    def seen(self) -> Seen:
        """What was seen of the model before. Raises NotPulled where nothing was."""
        found = self._models.last_seen(self._digest)
        if found is None:
            raise self._wanted()
        return found

    def _wanted(self) -> NotPulled:
        return self._models.wanted(self._line, self._name, self._digest)

    def of(self, found: manifest.Manifest) -> Pulled:
        blobs: list[tuple[str, Source]] = []
        given: list[dict[str, Any]] = []
        unquantized, chat, template = False, None, None
        for layer in found.layers:
            source = self._source(layer)
            blobs.append((layer.media_type, source))
            if layer.media_type == manifest.PARAMS:
                given.append(self._object(layer.digest))
            if layer.media_type == manifest.MODEL and source.known:
                unquantized, chat = self.seen.unquantized, self.seen.chat
            elif layer.media_type == manifest.MODEL:
                contents = self._models._weights.ggufs.contents(self._line, source.path)
                unquantized, chat = contents.unquantized, contents.chat
            if layer.media_type == manifest.TEMPLATE and layer.size <= seen.TEMPLATE_LIMIT:
                template = self._template(layer.digest)
        config = self._object(found.config.digest)
        handed_down = {"base": config, **_inherited_config(config)}
        parameters = manifest.merge_parameters(given, {})
        name = self._name.display()
        return Pulled(name, self._digest, tuple(blobs), unquantized, handed_down, parameters, chat, template)

    def _source(self, layer: manifest.Layer) -> Source:
        path, how = self._models.blob(layer.digest, self._home), form(layer.media_type)
        if path is not None:
            return Source(path, how)
        known = self.seen.sources.get(layer.digest)
        if known is None:
            raise self._wanted()
        return Source(self._models.libraries[0].blob_path(layer.digest), how, known)

    def _template(self, digest: str) -> str | None:
        path = self._models.blob(digest, self._home)
        try:
            data = self._models._observed.read(path) if path is not None else self.seen.small.get(digest)
        except OSError:  # told when its layer is made
            return None
        return data.decode("utf-8", "replace") if data is not None else None

    def _object(self, digest: str) -> dict[str, Any]:
        path = self._models.blob(digest, self._home)
        if path is None and digest not in self.seen.small:
            raise self._wanted()
        try:
            return manifest.parse_params(
                self._models._observed.read(path) if path is not None else self.seen.small[digest]
            )
        except (Error, OSError):
            raise self._line.place.error(
                f"the model '{self._line.text}' has a blob that is not a JSON object",
                facts=[("blob", path or digest)],
                hint="remove that blob and build again: it is pulled again",
            ) from None


def _left_over(line: From, name: Name, home: Library) -> Error:
    """The error for a model that only an earlier state of the project declares: a build elsewhere would not find it."""
    shown = name.display()
    return line.place.error(
        f"'{line.text}' is no longer declared: the installed '{shown}' is left over from an earlier build of this project",
        facts=[("models", home.root)],
        hint=f"name a declared model, or one that you keep: `modelbuild cp {shown} NAME`; for the model of this name in its registry, "
        "remove this one first: `modelbuild clean --stale`",
    )


def _parsed(line: From, data: bytes, path: str | None = None) -> manifest.Manifest:
    try:
        return manifest.Manifest.parse(data)
    except Error as error:
        raise _unreadable(line, error.what, path) from error


def _unreadable(line: From, why: str, path: str | None) -> Error:
    return line.place.error(
        f"the manifest of '{line.text}' cannot be read: {why}",
        facts=[("manifest", path)] if path else [],
        hint="remove that file and build again: the model is pulled again",
    )


def _inherited_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config hands down, as far as it is what it should be (server/create.go)."""
    texts = {
        key: config[key]
        for key in ("renderer", "parser", "requires")
        if isinstance(config.get(key), str) and config[key]
    }
    lists = {key: config[key] for key in ("capabilities",) if isinstance(config.get(key), list) and config[key]}
    drafts = {key: config[key] for key in ("draft",) if isinstance(config.get(key), dict)}
    return texts | lists | drafts
