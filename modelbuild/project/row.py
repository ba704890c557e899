"""One row of a model, from the tables that declare it to a variant: variables filled in, values checked, files read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from modelbuild import shapes
from modelbuild.checkpoint import metadata
from modelbuild.errors import Error, Problems
from modelbuild.files import expand
from modelbuild.ollama.modelfile import doubts
from modelbuild.ollama.modelfile.grammar import Command
from modelbuild.ollama.modelfile.meaning import Modelfile
from modelbuild.ollama.name import NAMESPACE, Name, can_be
from modelbuild.project import allowed, keys, pushes, tooling, variables
from modelbuild.project.keys import KEYS
from modelbuild.project.locate import Place
from modelbuild.project.matrix import Row
from modelbuild.project.overlay import Said, in_defaults
from modelbuild.project.texts import Texts
from modelbuild.project.values import Values
from modelbuild.project.variables import Scope
from modelbuild.project.variant import Adapter, ExportTo, File, From, Tools, Variant
from modelbuild.tensors.formats import limit as limits
from modelbuild.tuples import NamedTuple
from modelbuild.words import as_text


class Surroundings(NamedTuple):
    """What all rows of a project have in common.

    texts      reads the files that keys name
    vars       the project's variables
    namespace  of names that have none
    mixes      the project's own ftypes, as mixes.read gives them
    faults     what is wrong with them, by their names
    tools      programs of the user's own
    """

    texts: Texts
    vars: Scope
    namespace: str | None
    mixes: Mapping[str, Said]
    faults: Mapping[str, Sequence[Error]]
    tools: Tools = Tools()


class Declaration(NamedTuple):
    """A row of a model and all that tables say of it.

    said   key -> the value on top, as it is written
    scope  what the strings of the row may name
    table  where the model is declared
    """

    model: str
    row: Row
    said: Mapping[str, Said]
    scope: Scope
    table: Place


class Naming(NamedTuple):
    """The name of a row."""

    names: tuple[Name, ...]
    tag: str


class Reader:
    """Reads what is declared of one row. What is wrong goes to `problems`, and such a value counts as not said."""

    def __init__(self, declared: Declaration, around: Surroundings, problems: Problems) -> None:
        self.declared = declared
        self.problems = problems
        self._around = around

    def _values(self, said: Mapping[str, Said]) -> Values:
        return Values(said, self.declared.scope, self._around.texts, self.problems)

    def naming(self) -> Naming:
        """Work out the row's names: `name:tag`, and for the default row `latest` and `tags`.

        There are none while a problem is known: what one row is wrongly called, all are as a rule.
        """
        row, said, table = self.declared.row, self.declared.said, self.declared.table
        values = self._values(said)
        name = values.string_of("name") or self.declared.model
        tag = values.string_of("tag") or row.joined or "latest"
        tags = values.strings_of("tags")
        if self.problems:
            return Naming((), row.joined)
        name_place = said["name"].place if "name" in said else table
        if ":" in name.rpartition("/")[2]:
            before_tag, _, wrong = name.rpartition(":")
            hint = f'say it with \'tag\': name = "{before_tag}", tag = "{wrong}"'
            self.problems.add(name_place.error(f"'name' takes no tag, got '{name}'", hint=hint))
            return Naming((), row.joined)
        if not row.is_default and not any("tags" in extra.values for extra in row.extra):
            tags = []
        elif row.is_default and row.labels:
            tags.insert(0, "latest")
        names: list[Name] = []
        with self.problems.at(name_place):
            for each in self._right([tag, *tags]):
                parsed = Name.parse(f"{name}:{each}", namespace=self._around.namespace or NAMESPACE)
                if parsed not in names:
                    names.append(parsed)
        return Naming(tuple(names), tag)

    def _right(self, tags: Sequence[str]) -> Iterator[str]:
        """Those of a row's tags that can be tags; the first is its own."""
        said, table = self.declared.said, self.declared.table
        own_place = next((said[key].place for key in ("tag", "matrix") if key in said), table)
        for number, each in enumerate(tags):
            if can_be("tag", each):
                yield each
                continue
            place = own_place if number == 0 else said["tags"].place if "tags" in said else table
            what = f"'{each}' cannot be a tag: expected letters, digits, '_', '-' and '.', at most 80"
            if number == 0 and "tag" not in said:
                hint = "name the values, as in base = { small = \"./base/1b\" }, or set 'tag'"
                self.problems.add(place.error(f"a row's values cannot make a tag: {what}", hint=hint, value=False))
            else:
                self.problems.add(place.error(what))

    def modelfile(self) -> Modelfile | None:
        """The Modelfile that the row names; None where it names none, or one that cannot be used."""
        value, place = self.declared.said.get("modelfile", (None, None))
        texts = self._around.texts
        if not value or not place:
            return None
        path = value
        if not texts.has_parsed(path):
            path = ""
            with self.problems.at(place):
                path = expand(as_text(variables.filled(value, self.declared.scope)), texts.folder(place))
        if not path:
            return None
        found = texts.modelfile(path, place)
        self.problems.add(*texts.faults(path))
        return found

    def variant(self, label: str, names: tuple[Name, ...], text: Modelfile | None) -> Variant:
        """Put the variant together, of the tables and of the row's Modelfile."""
        said = _without_defaults(self.declared.said, text) if text else self.declared.said
        values = self._values(said)
        read = _Reading(values, text)
        cleared = {name for name, key in KEYS.items() if key.empties and name in said and _is_empty(said[name].value)}
        plain = read.plain(cleared)
        parameters, cleared_parameters = read.parameters()
        licenses = read.licenses()
        quantize = values.of("quantize", partial(keys.ftype, mixes=self._around.mixes))
        self.problems.add(*self._around.faults.get(quantize or "", ()))
        mix = self._around.mixes.get(quantize) if quantize else None
        defaults = [key for key, entry in values.entries_of("metadata").items() if in_defaults(entry.place)]
        return Variant(
            model=self.declared.model,
            row=self.declared.row.labels,
            label=label,
            names=names,
            is_default=self.declared.row.is_default,
            values=plain,
            froms=read.froms(),
            quantize=quantize,
            quantize_from_defaults=bool(quantize) and in_defaults(said["quantize"].place),
            mix=mix.value if mix else None,
            metadata=read.metadata(),
            default_metadata=frozenset(defaults),
            parameters=parameters,
            cleared_parameters=cleared_parameters,
            messages=read.messages(),
            licenses=licenses if licenses is not None else tuple(text.licenses) if text else (),
            replaces_licenses=licenses is not None,
            adapters=read.adapters(),
            drafts=read.drafts(),
            exports=read.exports(),
            pushes=pushes.read(read.values, self._around.namespace),
            converters=tooling.converters(read.values),
            calibration=tooling.calibration(read.values),
            gate=tooling.gate(read.values),
            tools=self._around.tools,
            cleared=frozenset(cleared),
            table=self.declared.table,
            mix_table=mix.place if mix else None,
            said=said,
            modelfile=text,
        )


class _Reading:
    """What the tables of a row and its Modelfile say together."""

    def __init__(self, values: Values, text: Modelfile | None) -> None:
        self.values = values
        self.said = values.said
        self.text = text
        self.folder = os.path.dirname(os.path.join(values.texts.root, text.path)) if text else values.texts.root

    def plain(self, cleared: set[str]) -> dict[str, Any]:
        """Plain keys and what they come to: what a table says, else the Modelfile, and None for "".

        Keys that turn out empty once their variables are filled in go to `cleared`.
        """
        found: dict[str, Any] = {}
        for name, key in KEYS.items():
            if not key.is_plain:
                continue
            value: Any
            if key.holds in ("text", "text or false"):
                value = self.values.text_of(name)
            elif key.holds in ("path", "path or text"):
                is_path = name in self.said and not isinstance(self.said[name].value, dict)
                value = self.values.path_of(name) if is_path else None
            elif key.holds == "path or word or false":
                value = self.values.path_or_word_of(name, key.words)
            else:
                value = self.values.of(name, key.check or as_text)
            if value == "" and key.empties:
                cleared.add(name)
            elif value and name == "template":
                self.check_template(value)
            if value is None and self.text and key.attribute:
                value = getattr(self.text, key.attribute)
            found[name] = bool(value) if key.holds == "flag" else value or None
        return found

    def check_template(self, text: str) -> None:
        """Point out what is wrong with the template of a TOML, in the file that holds it or by its lines."""
        from modelbuild.ollama import template, template_values

        (value, place), texts = self.said["template"], self.values.texts
        shown = None
        if isinstance(value, dict):
            shown = texts.shown(expand(as_text(self.values.filled(value["file"], place)), texts.folder(place)))

        def told(fault: template.Fault) -> Error:
            error = template.placed(fault, text, shown)
            facts = [(f"line {error.line}", error.source or "")] if "\n" in text else []
            return error if shown else place.error(error.what, facts=facts, hint=error.hint)

        if fault := template.find_fault(text):
            self.values.problems.add(told(fault))
        else:
            self.values.problems.warn(*map(told, template_values.unknown(text)))

    def froms(self) -> tuple[From, ...]:
        """The `from` of the TOML, else the FROM lines of the Modelfile."""
        if "from" in self.said and self.said["from"].value != "":
            said, place = self.values.string_of("from") or "", self.said["from"].place
            return (From(said, True, self.values.texts.folder(place), place),)
        if self.text is None:
            return ()
        return tuple(From(line.value, False, self.folder, _place(self.text, line)) for line in self.text.from_)

    def parameters(self) -> tuple[dict[str, Any], frozenset[str]]:
        """What is given, in its own type, and the names of those that are cleared."""
        given: dict[str, Any] = {}
        cleared: set[str] = set()
        for name, (value, place) in self.values.entries_of("parameters").items():
            if isinstance(value, list):
                value = self.values.items(value, place)
            with self.values.problems.at(place):
                typed = keys.parameter(variables.filled(value, self.values.scope), name)
                if typed is None:
                    cleared.add(name)
                else:
                    given[name] = typed
                    self.values.problems.warn(*(place.placed(doubt) for doubt in doubts.of(name, typed)))
        inherited = self.text.parameters if self.text else {}
        return {name: inherited[name] for name in inherited if name not in cleared} | given, frozenset(cleared)

    def metadata(self) -> dict[str, Any]:
        """Key of the GGUF -> its value as it counts."""
        given: dict[str, Any] = {}
        for key, (value, place) in self.values.entries_of("metadata").items():
            filled = self.values.filled(value, place)
            with self.values.problems.at(place):
                checked = metadata.check(key, filled)
                if metadata.is_file(checked):
                    checked = metadata.check(key, self.values.text(checked, place))
                given[key] = checked
        return given

    def messages(self) -> tuple[tuple[str, str], ...] | None:
        """(role, content) of the TOML, else of the Modelfile; None where neither says any."""
        if "messages" not in self.said:
            return tuple(self.text.messages) if self.text and self.text.messages else None
        entries, place = self.said["messages"]
        return tuple(
            (
                self.values.checked(entry["role"], place.at(number, "role"), allowed.role) or "",
                self.values.text(entry["content"], place.at(number, "content")),
            )
            for number, entry in enumerate(entries or ())
        )

    def licenses(self) -> tuple[str, ...] | None:
        """The licenses of the TOML; None where it says none."""
        if "license" not in self.said:
            return None
        value, place = self.said["license"]
        if isinstance(value, list):
            texts = [self.values.text(item, place.at(number)) for number, item in enumerate(value)]
        else:
            texts = [self.values.text(value, place)]
        return tuple(text for text in texts if text)

    def adapters(self) -> tuple[Adapter, ...]:
        """The Modelfile's own, unless the TOML clears them, and then the TOML's."""
        values = self.values
        mode = values.of("adapter_mode", allowed.adapter_mode) or "layer"
        entries = self.said["adapters"].value if "adapters" in self.said else None
        adapters: list[Adapter] = []
        if self.text and entries not in ("", []):
            # A second line is an error of the Modelfile itself.
            files = self._files(self.text, self.text.adapters[:1])
            adapters += (Adapter(file.path, file.text, file.folder, 1.0, mode, file.place) for file in files)
        for number, entry in enumerate(entries or ()):
            here = self.said["adapters"].place.at(number)
            file = values.path(entry["path"], here.at("path"))
            own = values.checked(entry["mode"], here.at("mode"), allowed.adapter_mode) if "mode" in entry else None
            scale = values.checked(entry.get("scale", 1), here.at("scale"), allowed.adapter_scale)
            zero = values.checked(entry.get("allow_zero", False), here.at("allow_zero"), allowed.adapter_zero)
            if file:
                factor = 1.0 if scale is None else scale
                adapters.append(Adapter(file.path, file.text, file.folder, factor, own or mode, file.place, bool(zero)))
        return tuple(adapters)

    def exports(self) -> tuple[ExportTo, ...]:
        """The folders that the model is also written to."""
        found: list[ExportTo] = []
        for number, entry in enumerate((self.said["export"].value if "export" in self.said else None) or ()):
            here = self.said["export"].place.at(number)
            folder = self.values.path(entry["path"], here.at("path"))
            shape = self.values.checked(entry["as"], here.at("as"), keys.SHAPE)
            link = self.values.checked(entry.get("link", "copy"), here.at("link"), keys.LINK)
            split = as_text(self.values.filled(entry.get("split", ""), here.at("split")))
            if split and self.values.checked(split, here.at("split"), limits.limit) is None:
                continue
            if shape and split and not shapes.splits(shape):
                what = f"'split' has no effect: the shape '{shape}' has no split files"
                self.values.problems.add(here.at("split").error(what, hint="remove it", value=False))
            elif folder is None:
                self.values.problems.add(here.at("path").error("'path' expects a folder", value=False))
            elif shape and link:
                found.append(ExportTo(shape, folder, split, link))
        return tuple(found)

    def drafts(self) -> tuple[File, ...]:
        """The `draft` of the TOML, else the DRAFT lines of the Modelfile."""
        if "draft" in self.said:
            draft = self.values.path_of("draft")
            return (draft,) if draft else ()
        return tuple(self._files(self.text, self.text.drafts)) if self.text else ()

    def _files(self, text: Modelfile, lines: Sequence[Command]) -> list[File]:
        """The files that lines of the Modelfile name."""
        found = [self.values.file(line.value, _place(text, line), self.folder) for line in lines]
        return [file for file in found if file]


def _place(text: Modelfile, command: Command) -> Place:
    return Place(text.path, modelfile=text, command=command)


def _is_empty(value: Any) -> bool:
    return value in ("", [], False)


def _without_defaults(said: Mapping[str, Said], text: Modelfile) -> Mapping[str, Said]:
    """Leave out what [defaults] says and the Modelfile says otherwise."""
    kept = dict(said)
    for name, key in KEYS.items():
        if key.attribute and name in kept and in_defaults(kept[name].place) and getattr(text, key.attribute):
            del kept[name]
    if "parameters" in kept:
        values, place = kept["parameters"]
        own = {
            name: each for name, each in values.items() if name not in text.parameters or not in_defaults(each.place)
        }
        kept["parameters"] = Said(own, place)
    return kept
