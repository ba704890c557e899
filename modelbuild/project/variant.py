"""One built name: a model × one row of its matrix, with everything that TOML and Modelfile say about it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from modelbuild.checkpoint import metadata
from modelbuild.checkpoint.tokenizers import pretokenizers
from modelbuild.errors import Error
from modelbuild.files import expand
from modelbuild.ollama.modelfile import meaning, parameters
from modelbuild.ollama.modelfile.grammar import ROLES, Command
from modelbuild.ollama.modelfile.meaning import Modelfile
from modelbuild.ollama.name import NAMESPACE, Name
from modelbuild.project.locate import Place
from modelbuild.project.matrix import Row
from modelbuild.project.overlay import Said
from modelbuild.project.variables import Scope, fill
from modelbuild.tensors import ftypes
from modelbuild.words import as_text, did_you_mean, got, listed

OUTTYPES = ("source", "auto", "f32", "f16", "bf16", "q8_0")
ADAPTER_MODES = ("layer", "merge")
LINKS = ("copy", "hard")
KEYS = (
    *("modelfile", "from", "name", "tag", "tags", "extends", "quantize", "outtype", "imatrix", "allow_requantize"),
    *("adapters", "adapter_mode", "system", "template", "parameters", "messages", "license", "renderer", "parser"),
    *("requires", "draft", "projector", "metadata", "pre", "push", "link", "description"),
    *("matrix", "include", "exclude", "default"),
)
"""Keys of a model; schema.Model says what each of them takes."""

WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What models, groups and mixes may be called."""

RESERVED = ("push",)
"""Keys that are checked, and whose function comes later."""


@dataclass(frozen=True, slots=True)
class From:
    """What a model derives from, as written.

    in_toml  said by `from` in a TOML, where only what looks like a path is one; else by a Modelfile's FROM
    folder   what a relative path starts from
    """

    text: str
    in_toml: bool
    folder: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class File:
    """A file or folder that is named, not yet looked at: its absolute path, and the text that named it."""

    path: str
    text: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Adapter:
    path: str
    text: str
    scale: float
    mode: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Variant:
    """A model × one row of its matrix, ready to be planned.

    label       what targets and errors call it: 'chat', or 'chat:q4_K_M' for a row
    names       the names it is built under; the first is the main one
    froms       FROM lines in order, or the one `from` of the TOML that replaces them
    quantize    canonical ftype, or the name of a mix; None for as it is
    mix         what that mix says, as mixes.read gives it, and mix_table where; `ftype` is what it starts from
    imatrix     importance matrix; its `text` is what llama-quantize writes into the file
    metadata    key -> value, of the GGUF; `default_metadata` are the keys of which [defaults] says it
    pre         what the pre-tokenizer is called, where the project says it
    parameters  Modelfile's and TOML's, in their own types
    messages    (role, content) pairs; None where nobody gives any, so that a base's stay
    licenses    of the TOML, which replace all inherited ones (`replaces_licenses`), or of the Modelfile, which add to them
    cleared     keys, and `cleared_parameters` parameters, that the TOML empties: what the base gives under them goes too
    """

    model: str
    row: tuple[tuple[str, str], ...]
    label: str
    names: tuple[Name, ...]
    is_default: bool
    description: str | None
    froms: tuple[From, ...]
    outtype: str | None
    quantize: str | None
    quantize_from_defaults: bool
    mix: Mapping[str, Any] | None
    imatrix: File | None
    allow_requantize: bool
    metadata: Mapping[str, Any]
    default_metadata: frozenset[str]
    pre: str | None
    parameters: Mapping[str, Any]
    cleared_parameters: frozenset[str]
    system: str | None
    template: str | None
    messages: tuple[tuple[str, str], ...] | None
    licenses: tuple[str, ...]
    replaces_licenses: bool
    adapters: tuple[Adapter, ...]
    drafts: tuple[File, ...]
    projector: File | None
    renderer: str | None
    parser: str | None
    requires: str | None
    link: str | None
    cleared: frozenset[str]
    table: Place = field(repr=False, compare=False)
    mix_table: Place | None = field(repr=False, compare=False)
    said: Mapping[str, Said] = field(repr=False, compare=False)
    modelfile: Modelfile | None = field(repr=False, compare=False)

    @property
    def ftype(self) -> str | None:
        """The canonical ftype to quantize to: of a mix, its base."""
        return self.mix.get("base") if self.mix is not None else self.quantize

    def place(self, key: str, name: str | None = None) -> Place:
        """Where a key of the variant was said (`place("parameters", "stop")`); where the model was, if nowhere."""
        said = self.said.get(key)
        if said and name and key in ("parameters", "metadata") and name in said.value:
            return cast(Place, said.value[name].place)
        if said and not name:
            return said.place
        if self.modelfile:
            place = modelfile_place(self.modelfile, key, name)
            if place:
                return place
        return self.table


class Files(Protocol):
    """Reads what a variant's keys name; each file once."""

    def text(self, path: str, place: Place) -> str: ...


@dataclass(frozen=True, slots=True)
class Naming:
    """What a row is to be called."""

    names: tuple[Name, ...]
    tag: str


def name_row(
    model: str,
    row: Row,
    said: Mapping[str, Said],
    scope: Scope,
    namespace: str | None,
    table: Place,
    errors: list[Error],
) -> Naming:
    """Work out a row's names: `name:tag`, and for the default row `latest` and `tags`. What is wrong goes to `errors`."""
    read = _Reader(said, scope, errors)
    name = read.string("name") or model
    tag = read.string("tag") or row.joined or "latest"
    tags = list(read.strings("tags"))
    if errors:
        return Naming((), row.joined)
    name_place = said["name"].place if "name" in said else table
    tag_place = next((said[key].place for key in ("tag", "matrix") if key in said), table)
    if ":" in name.rpartition("/")[2]:
        before_tag, _, wrong = name.rpartition(":")
        hint = f'say it with \'tag\': name = "{before_tag}", tag = "{wrong}"'
        errors.append(name_place.error(f"'name' takes no tag, got '{name}'", hint=hint))
        return Naming((), row.joined)
    if not row.is_default and not any("tags" in layer.table for layer in row.extra):
        tags = []
    elif row.is_default and row.labels:
        tags.insert(0, "latest")
    names: list[Name] = []
    for number, each in enumerate([tag, *tags]):
        place = tag_place if number == 0 else said["tags"].place if "tags" in said else table
        if not _TAG.fullmatch(each):
            what = f"'{each}' cannot be a tag: expected letters, digits, '_', '-' and '.', at most 80"
            if number == 0 and "tag" not in said:
                hint = "name the values, as in base = { small = \"./base/1b\" }, or say 'tag'"
                errors.append(place.error(f"a row's values make no tag: {what}", hint=hint, value=False))
            else:
                errors.append(place.error(what))
            continue
        try:
            parsed = Name.parse(f"{name}:{each}", namespace=namespace or NAMESPACE)
        except Error as error:
            errors.append(name_place.placed(error))
            break
        if parsed not in names:
            names.append(parsed)
    return Naming(tuple(names), tag)


def build(
    model: str,
    label: str,
    names: tuple[Name, ...],
    row: Row,
    said: Mapping[str, Said],
    scope: Scope,
    table: Place,
    text: Modelfile | None,
    root: str,
    files: Files,
    mixes: Mapping[str, Said],
    errors: list[Error],
) -> Variant:
    """Put a variant together; what is wrong with a value goes to `errors`, and the value counts as not said.

    `mixes` are the project's own ftypes, as mixes.read gives them.
    """
    if text:
        said = _without_defaults(said, text)
    read = _Reader(said, scope, errors, root, files)
    given, cleared_parameters = read.parameters()
    parameters = dict(text.parameters) if text else {}
    parameters.update(given)
    for name in cleared_parameters:
        parameters.pop(name, None)
    cleared = {key for key in CLEARABLE if key in said and said[key].value in ("", [], False)}

    def either(key: str, value: str | None, inherited: str | None) -> str | None:
        if value == "":
            cleared.add(key)
        return (value or None) if value is not None else (inherited or None)

    quantize = read.checked("quantize", lambda value: ftype(value, mixes))
    mix = mixes.get(quantize) if quantize else None
    messages = read.messages()
    if messages is None and text and text.messages:
        messages = tuple(text.messages)
    licenses = read.licenses()
    return Variant(
        model=model,
        row=row.labels,
        label=label,
        names=names,
        is_default=row.is_default,
        description=read.string("description") or None,
        froms=read.froms(text),
        outtype=read.checked("outtype", outtype),
        quantize=quantize,
        quantize_from_defaults=bool(quantize) and _is_default(said["quantize"].place),
        mix=mix.value if mix else None,
        imatrix=read.file("imatrix"),
        allow_requantize=read.checked("allow_requantize", allow_requantize) or False,
        metadata=read.metadata(),
        default_metadata=frozenset(
            key
            for key, (_, place) in (said["metadata"].value.items() if "metadata" in said else ())
            if _is_default(place)
        ),
        pre=read.checked("pre", pre),
        parameters=parameters,
        cleared_parameters=cleared_parameters,
        system=either("system", read.text("system"), text.system if text else None),
        template=either("template", read.text("template"), text.template if text else None),
        messages=messages,
        licenses=licenses if licenses is not None else tuple(text.licenses) if text else (),
        replaces_licenses=licenses is not None,
        adapters=read.adapters(text),
        drafts=read.drafts(text),
        projector=read.file("projector"),
        renderer=either("renderer", read.string("renderer"), text.renderer if text else None),
        parser=either("parser", read.string("parser"), text.parser if text else None),
        requires=either("requires", read.checked("requires", version), text.requires if text else None),
        link=read.checked("link", link),
        cleared=frozenset(cleared),
        table=table,
        mix_table=mix.place if mix else None,
        said=said,
        modelfile=text,
    )


CLEARABLE = (
    "system",
    "template",
    "messages",
    "license",
    "renderer",
    "parser",
    "requires",
    "adapters",
    "draft",
    "projector",
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


def _without_defaults(said: Mapping[str, Said], text: Modelfile) -> Mapping[str, Said]:
    """Leave out what [defaults] says and the Modelfile says otherwise."""
    kept = dict(said)
    for key, given in (
        ("system", text.system), ("template", text.template), ("messages", text.messages), ("license", text.licenses),
        ("renderer", text.renderer), ("parser", text.parser), ("requires", text.requires),
    ):  # fmt: skip
        if given and key in kept and _is_default(kept[key].place):
            del kept[key]
    if "parameters" in kept:
        values, place = kept["parameters"]
        own = {
            name: each for name, each in values.items() if name not in text.parameters or not _is_default(each.place)
        }
        kept["parameters"] = Said(own, place)
    return kept


def _is_default(place: Place) -> bool:
    return place.key[:1] == ("defaults",)


def modelfile_place(text: Modelfile, key: str, name: str | None = None) -> Place | None:
    """The last line of a Modelfile that says a key of the TOML."""
    wanted = _COMMANDS.get(key, key)
    for command in reversed(text.commands):
        if command.name == wanted and (not name or command.key == name):
            return Place(text.path, modelfile=text, command=command)
    return None


_COMMANDS = {"adapters": "adapter", "messages": "message", "parameters": "parameter"}


# Values: each function gives the value as it counts, or raises Error without a place.


def choice(value: Any, known: Sequence[str], noun: str) -> str:
    """One of a few words, in any case."""
    text = as_text(value)
    if text.casefold() in known:
        return text.casefold()
    raise Error(f"unknown {noun} {got(text)}", facts=[("known", listed(known))], hint=did_you_mean(text, known))


def ftype(value: Any, custom: Collection[str] = ()) -> str | None:
    """The canonical spelling of what `quantize` asks for, or the name of a mix, of those in `custom`; None for 'none'."""
    text = as_text(value)
    if text.casefold() in ("", "none"):
        return None
    if text in custom:
        return text
    spelling = ftypes.canonical(text)
    if spelling is None:
        hint = did_you_mean(text, custom) or nearest_ftype(text)
        raise Error(f"unknown ftype {got(text)}", facts=[("known", listed([*custom, *ftypes.KNOWN], 30))], hint=hint)
    return spelling


def custom_ftypes(document: Mapping[str, Any]) -> frozenset[str]:
    """The names of the mixes that a ModelBuild.toml makes."""
    return frozenset(name for name in document.get("ftype", {}) if not ftypes.canonical(name))


def nearest_ftype(text: str) -> str | None:
    """A hint for a misspelled ftype; of equally near ones the `_M` mix, which is what people mean."""
    import difflib

    folded = text.casefold()
    ranked = sorted(ftypes.KNOWN, key=lambda name: not name.endswith("_M"))
    near = max(ranked, key=lambda name: difflib.SequenceMatcher(None, name.casefold(), folded).ratio())
    return did_you_mean(text, [near])


def not_built_yet(thing: str) -> Error:
    return Error(f"{thing} is not built yet", hint="it is checked, and comes with a later version")


def flag(key: str, value: Any) -> bool:
    """True or false, or their names; "" is false."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False, "": False}
    if isinstance(value, str) and value in words:
        return words[value]
    raise Error(f"'{key}' expects true or false, got {got(value)}")


def allow_requantize(value: Any) -> bool:
    return flag("allow_requantize", value)


def adapter_mode(value: Any) -> str:
    mode = choice(value or "layer", ADAPTER_MODES, "adapter mode")
    if mode == "merge":
        raise not_built_yet("adapter mode 'merge'")
    return mode


def adapter_scale(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Error(f"'scale' expects a number, got {got(value)}")
    if value != 1:
        raise not_built_yet("an adapter scale other than 1")
    return float(value)


def role(value: Any) -> str:
    return choice(value, ROLES, "role")


def version(value: Any) -> str:
    """A version as REQUIRES takes it, without its leading `v`; "" clears."""
    text = as_text(value)
    try:
        return meaning.version(text) if text else ""
    except Error:
        raise Error(f"'requires' expects a version such as '0.14.0', got {got(text)}") from None


def parameter(name: str, value: Any) -> Any:
    """A parameter in its own type; None where `""` or `[]` clears it."""
    if value in ("", []):
        if name not in parameters.PARAMETERS:
            raise parameters.unknown_parameter(name)
        return None
    return parameters.parameter(name, value)


def outtype(value: Any) -> str | None:
    return choice(value, OUTTYPES, "outtype") if value != "" else None


def link(value: Any) -> str | None:
    return choice(value, LINKS, "link") if value != "" else None


def pre(value: Any) -> str | None:
    return choice(value, pretokenizers.NAMES, "pre-tokenizer") if value != "" else None


CHECKS: Mapping[str, Callable[[Any], object]] = {
    "allow_requantize": allow_requantize,
    "pre": pre,
    "outtype": outtype,
    "adapter_mode": adapter_mode,
    "link": link,
    "requires": version,
}


def _named_parameter(name: str, value: Any) -> tuple[str, Any]:
    return name, parameter(name, value)


T = TypeVar("T")


class _Reader:
    """Reads keys of one row: fills in variables, checks, notes what is wrong."""

    def __init__(
        self,
        said: Mapping[str, Said],
        scope: Scope,
        errors: list[Error],
        root: str = "",
        files: Files | None = None,
    ) -> None:
        self.said = said
        self.scope = scope
        self.errors = errors
        self.root = root
        self.files = files

    def _fill(self, value: Any, place: Place) -> Any:
        """A value with its variables filled in; "" where that fails."""
        if isinstance(value, str) and "${" in value:
            try:
                return fill(value, self.scope)
            except Error as error:
                self.errors.append(place.placed(error))
                return ""
        return value

    def string(self, key: str) -> str | None:
        if key not in self.said:
            return None
        value, place = self.said[key]
        return as_text(self._fill(value, place))

    def strings(self, key: str) -> tuple[str, ...]:
        if key not in self.said:
            return ()
        values, place = self.said[key]
        return tuple(as_text(self._fill(value, place.at(number))) for number, value in enumerate(values or ()))

    def checked(self, key: str, check: Callable[[Any], T]) -> T | None:
        if key not in self.said:
            return None
        value, place = self.said[key]
        return self._checked(value, place, check)

    def _checked(self, value: Any, place: Place, check: Callable[[Any], T]) -> T | None:
        before = len(self.errors)
        filled = self._fill(value, place)
        try:
            return check(filled) if len(self.errors) == before else None
        except Error as error:
            self.errors.append(place.placed(error))
            return None

    def text(self, key: str) -> str | None:
        return self._text(*self.said[key]) if key in self.said else None

    def _text(self, value: Any, place: Place) -> str:
        if isinstance(value, dict):
            here = place.at("file")
            path = as_text(self._fill(value["file"], here))
            try:
                assert self.files
                return self.files.text(expand(path, self.root), here) if path else ""
            except Error as error:
                self.errors.append(here.placed(error))
                return ""
        filled = self._fill(value, place)
        if filled is True:
            self.errors.append(place.error("'template' expects a string, { file = … } or false, got true"))
        return "" if isinstance(filled, bool) else as_text(filled)

    def file(self, key: str) -> File | None:
        if key not in self.said:
            return None
        value, place = self.said[key]
        return self._file(as_text(self._fill(value, place)), place)

    def _file(self, text: str, place: Place, folder: str | None = None) -> File | None:
        try:
            return File(expand(text, folder or self.root), text, place) if text else None
        except Error as error:
            self.errors.append(place.placed(error))
            return None

    def froms(self, text: Modelfile | None) -> tuple[From, ...]:
        if "from" in self.said and self.said["from"].value != "":
            place = self.said["from"].place
            return (From(self.string("from") or "", True, self.root, place),)
        if text is None:
            return ()
        folder = self._folder(text)
        return tuple(
            From(command.value, False, folder, Place(text.path, modelfile=text, command=command))
            for command in text.from_
        )

    def _folder(self, text: Modelfile) -> str:
        return os.path.dirname(os.path.join(self.root, text.path))

    def _files(self, text: Modelfile, commands: Sequence[Command]) -> list[File]:
        places = [Place(text.path, modelfile=text, command=command) for command in commands]
        found = [self._file(place.command.value, place, self._folder(text)) for place in places if place.command]
        return [file for file in found if file]

    def parameters(self) -> tuple[dict[str, Any], frozenset[str]]:
        given: dict[str, Any] = {}
        cleared: set[str] = set()
        for name, (value, place) in self.said["parameters"].value.items() if "parameters" in self.said else ():
            if isinstance(value, list):
                value = [self._fill(item, place.at(number)) for number, item in enumerate(value)]
            typed = self._checked(value, place, partial(_named_parameter, name))
            if typed and typed[1] is None:
                cleared.add(name)
            elif typed:
                given[name] = typed[1]
        return given, frozenset(cleared)

    def metadata(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for key, (value, place) in self.said["metadata"].value.items() if "metadata" in self.said else ():
            before = len(self.errors)
            filled = self._all_filled(value, place)
            try:
                checked = metadata.check(key, filled)
                if metadata.is_file(checked):
                    checked = metadata.check(key, self._text(checked, place))
            except Error as error:
                self.errors.append(place.placed(error))
                continue
            if len(self.errors) == before:
                given[key] = checked
        return given

    def _all_filled(self, value: Any, place: Place) -> Any:
        """A value with its variables filled in wherever they stand in it."""
        if isinstance(value, list):
            return [self._all_filled(item, place.at(number)) for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {name: self._all_filled(item, place.at(name)) for name, item in value.items()}
        return self._fill(value, place)

    def messages(self) -> tuple[tuple[str, str], ...] | None:
        if "messages" not in self.said:
            return None
        values, place = self.said["messages"]
        return tuple(
            (
                self._checked(value["role"], place.at(number, "role"), role) or "",
                self._text(value["content"], place.at(number, "content")),
            )
            for number, value in enumerate(values or ())
        )

    def licenses(self) -> tuple[str, ...] | None:
        if "license" not in self.said:
            return None
        value, place = self.said["license"]
        if isinstance(value, list):
            texts = [self._text(item, place.at(number)) for number, item in enumerate(value)]
        else:
            texts = [self._text(value, place)]
        return tuple(text for text in texts if text)

    def adapters(self, text: Modelfile | None) -> tuple[Adapter, ...]:
        mode = self.checked("adapter_mode", adapter_mode) or "layer"
        given, place = self.said.get("adapters", (None, None))
        adapters: list[Adapter] = []
        if text and text.adapters and given not in ("", []):
            # A second line is an error of the Modelfile itself.
            adapters += (
                Adapter(file.path, file.text, 1.0, mode, file.place) for file in self._files(text, text.adapters[:1])
            )
        for number, entry in enumerate(given or ()):
            assert place
            here = place.at(number)
            file = self._file(as_text(self._fill(entry["path"], here.at("path"))), here.at("path"))
            own = self._checked(entry["mode"], here.at("mode"), adapter_mode) if "mode" in entry else None
            scale = self._checked(entry.get("scale", 1), here.at("scale"), adapter_scale)
            if file:
                adapters.append(Adapter(file.path, file.text, scale or 1.0, own or mode, file.place))
        return tuple(adapters)

    def drafts(self, text: Modelfile | None) -> tuple[File, ...]:
        if "draft" in self.said:
            draft = self.file("draft")
            return (draft,) if draft else ()
        return tuple(self._files(text, text.drafts)) if text and text.drafts else ()
