"""A project as declared: read its ModelBuild.toml and Modelfiles, and expand them into variants."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelbuild.digest import xxh3
from modelbuild.errors import Error, Errors
from modelbuild.files import expand
from modelbuild.observed import Observed
from modelbuild.ollama import modelfile
from modelbuild.ollama.modelfile.meaning import Modelfile
from modelbuild.ollama.name import Name
from modelbuild.project import matrix, mixes, variables, variant
from modelbuild.project.discovery import GLOB, Finder, name_after, telling_apart
from modelbuild.project.locate import Place
from modelbuild.project.matrix import Row
from modelbuild.project.overlay import Layer, Said, lay, put
from modelbuild.project.targets import Targets
from modelbuild.project.variables import Scalar, Scope
from modelbuild.project.variant import Variant
from modelbuild.words import as_text, did_you_mean, listed

if TYPE_CHECKING:
    from modelbuild.project.document import Keep

DEPTH_LIMIT = 100
"""How many models extend one another."""

MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,2}")
"""What a model can be named."""
_NOT_COPIED = ("tags", "push", "extends")
_TEXT_KEYS = frozenset(variant.KEYS) - frozenset(
    ("tags", "allow_requantize", "adapters", "template", "parameters", "messages", "license", "metadata", "push")
    + matrix.SHAPING
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about the project.

    vars            `--var NAME=VALUE`
    sets            `--set MODEL.KEY=VALUE`, as written; MODEL may be a glob
    name, quantize  `-t NAME` and `-q TYPE`, for the one model of a Modelfile
    """

    vars: Mapping[str, str] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    name: str | None = None
    quantize: str | None = None


@dataclass(frozen=True)
class Project:
    """A folder with a ModelBuild.toml (or one Modelfile), and all variants that it declares, in order.

    root      the folder, absolute; file is the text read, absolute
    models    the models folder that the TOML names, absolute; None where it names none
    default   target patterns that no target at all stands for; empty: everything
    warnings  errors that nobody need act on
    """

    root: str
    file: str
    name: str | None
    namespace: str | None
    models: str | None
    default: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    variants: tuple[Variant, ...]
    warnings: tuple[Error, ...] = field(default=(), compare=False)

    def select(self, targets: Sequence[str] = ()) -> tuple[Variant, ...]:
        """The variants that targets name, in the project's order. Raises Errors for targets that name nothing.

        A target is a group, a model, a variant, a full name with or without its tag, or a glob over all of these.
        """
        chosen = self.targets.words.select(targets)
        return tuple(each for each in self.variants if each.label in chosen)

    def candidates(self, text: str) -> tuple[Variant, ...]:
        """What FROM means by a name of this project: one variant, or all rows of a model without a default row."""
        return self.targets.candidates(text)

    def near(self, text: str) -> str | None:
        """A hint that names what a misspelled target or FROM was meant for."""
        return self.targets.words.near(text)

    @cached_property
    def targets(self) -> Targets:
        return Targets(self.groups, self.variants, self.default)


def load(file: str, *, observed: Observed, keep: Keep, options: Options | None = None) -> Project:
    """Read a ModelBuild.toml, or a Modelfile as a project of one model; `file` is absolute.

    Raises Errors with everything that is wrong with the project, ordered by place, or Error.
    """
    return _Loader(file, observed, keep, options or Options()).load()


class _Loader:
    def __init__(self, file: str, observed: Observed, keep: Keep, options: Options) -> None:
        self.file = file
        self.root = os.path.dirname(file)
        self.observed = observed
        self.keep = keep
        self.options = options
        self.errors: list[Error] = []
        self.warnings: list[Error] = []
        self.vars: dict[str, Scalar] = {}
        self.document: Mapping[str, Any] = {}
        self.sets: list[tuple[str, str, Mapping[str, Any]]] = []
        self.malformed: frozenset[str] = frozenset()
        self.top = Place(self.shown(file))
        self.found: dict[str, str] = {}
        self._are_files: set[str] = set()
        self._modelfiles: dict[str, Modelfile | None] = {}
        self._texts: dict[str, str] = {}

    def load(self) -> Project:
        is_toml = self.file.endswith(".toml")
        data = self._read(self.file, None)
        if is_toml and (self.options.name or self.options.quantize):
            option = "-t" if self.options.name else "-q"
            hint = "-f FILE names the Modelfile; in a ModelBuild.toml `name`, `tag` and `quantize` say it"
            raise Error(f"'{option}' is for a Modelfile, got '{self.shown(self.file)}'", hint=hint)
        text = self._decode(data) if is_toml else ""
        self.top = Place(self.shown(self.file), text)
        self._check(text)
        self._variables()
        table = self.document.get("project", {})
        here = self.top.at("project")
        folder = self.string(table, "models", here)
        models = self.path(folder, here.at("models")) if folder else None
        namespace = self.string(table, "namespace", here)
        if namespace and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", namespace):
            what = f"'{namespace}' cannot be a namespace: expected letters, digits, '_' and '-'"
            self.errors.append(here.at("namespace").error(what))
            namespace = ""
        if is_toml:
            self._discover(table, here, models)
        else:
            self._adopt(data)
        variants = self._variants(namespace or None)
        project = Project(
            root=self.root,
            file=self.file,
            name=self.string(table, "name", here) or None,
            namespace=namespace or None,
            models=models,
            default=self.strings(table.get("default", ()), here.at("default")),
            groups={
                name: self.strings(members, self.top.at("group", name))
                for name, members in self.document.get("group", {}).items()
            },
            variants=tuple(variants),
            warnings=(),
        )
        self._check_targets(project)
        self.raise_errors()
        object.__setattr__(project, "warnings", tuple(self._ordered(self.warnings)))
        return project

    # Errors

    def raise_errors(self) -> None:
        if self.errors:
            raise Errors(self._ordered(self.errors))

    def _ordered(self, errors: Iterable[Error]) -> list[Error]:
        """Each error once, by its place; those of the project's own file come first."""
        once = {(each.path, each.line, each.column, each.what): each for each in errors}
        first = self.top.file
        return sorted(once.values(), key=lambda e: (e.path != first, e.path or "", e.line or 0, e.column or 0))

    def shown(self, path: str) -> str:
        """A path as users see it: relative to the project."""
        inside = self.root.rstrip(os.sep) + os.sep
        return (path[len(inside) :] if path.startswith(inside) else os.path.relpath(path, self.root)).replace(
            os.sep, "/"
        )

    # Reading

    def _read(self, path: str, place: Place | None) -> bytes:
        try:
            kind = "file" if path in self._are_files else self.observed.kind(path)
            if kind == "file":
                return self.observed.read(path)
        except (OSError, ValueError) as fault:
            what = f"'{self.shown(path) if place else path}' cannot be read: {_reason(fault)}"
            raise (place.error(what) if place else Error(what)) from None
        shown = self.shown(path) if place else path
        what = f"'{shown}' is a folder, expected a file" if kind == "folder" else f"no file '{shown}'"
        raise place.error(what) if place else Error(what)

    def _decode(self, data: bytes) -> str:
        try:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError as fault:
            line = data.count(b"\n", 0, fault.start) + 1
            hint = "save the file as UTF-8"
            raise Error("not TOML: the text is not UTF-8", path=self.shown(self.file), line=line, hint=hint) from None

    def text(self, path: str, place: Place) -> str:
        """The text of a `{ file = … }`, without a byte order mark."""
        if path not in self._texts:
            try:
                self._texts[path] = self._read(path, place).decode("utf-8-sig")
            except UnicodeDecodeError:
                raise place.error(f"'{self.shown(path)}' is not UTF-8", hint="save the file as UTF-8") from None
        return self._texts[path]

    def modelfile(self, path: str, place: Place) -> Modelfile | None:
        """Read a Modelfile; None where it cannot be used, which is then said once."""
        if path not in self._modelfiles:
            self._modelfiles[path] = None
            try:
                self._parse(path, self._read(path, place))
            except Error as error:
                self.errors.append(error)
        return self._modelfiles[path]

    def _parse_all(self, paths: Iterable[str], place: Place) -> None:
        """Read all, then parse all: a thousand in a row take half the time of one at a time among other work."""
        texts: dict[str, bytes] = {}
        for path in paths:
            self._modelfiles[path] = None
            try:
                texts[path] = self._read(path, place)
            except Error as error:
                self.errors.append(error)
        for path, data in texts.items():
            try:
                self._parse(path, data)
            except Error as error:
                self.errors.append(error)

    def _parse(self, path: str, data: bytes) -> None:
        read = modelfile.parse(data, self.shown(path))
        self.errors += read.errors
        self.warnings += read.warnings
        self._modelfiles[path] = read

    def path(self, text: str, place: Place) -> str | None:
        try:
            return expand(text, self.root)
        except Error as error:
            self.errors.append(place.placed(error))
            return None

    # The TOML by itself

    def _check(self, text: str) -> None:
        """Parse and check the text and the `--set` options, or take what was kept of them."""
        if not text and not self.options.sets:
            return
        key = "project:" + xxh3("\0".join((*self.options.sets, text)).encode("utf-8", "surrogatepass"))
        digest, _, kept = (self.keep.get(key) or b"").partition(b"\n")
        if digest == xxh3(kept).encode():
            self.document, self.sets = json.loads(kept)
            return
        from modelbuild.project import document

        checked = document.check(text, self.top.file, self.keep)
        self.document = checked.document
        self.errors += checked.errors
        for option in self.options.sets:
            try:
                each = self._parse_set(option)
            except Error as error:
                self.errors.append(error)
                continue
            custom = variant.custom_ftypes(self.document)
            found = document.check_table(each[2], Place(f"--set {option}"), custom, self.keep)
            self.errors += found
            if not found:
                self.sets.append(each)
        if any(path[0] in ("project", "vars") for path in checked.malformed):
            self.raise_errors()
        tables = self.document.get("model", {})
        self.malformed = frozenset(str(path[1]) for path in checked.malformed if path[0] == "model" and len(path) > 1)
        self.malformed |= {name for name in tables if not GLOB.search(name) and not MODEL.fullmatch(name)}
        if not self.errors:
            data = json.dumps([self.document, self.sets], separators=(",", ":"), allow_nan=False).encode()
            self.keep.put(key, xxh3(data).encode() + b"\n" + data)

    def _parse_set(self, option: str) -> tuple[str, str, dict[str, Any]]:
        """Split `MODEL.KEY=VALUE`; VALUE is TOML, or a string as it stands."""
        import tomllib

        left, equals, text = option.partition("=")
        parts = left.strip().split(".")
        place = Place(f"--set {option}")
        # A model's name may hold dots: the first part that is a key of a model ends it.
        split = next((number for number in range(1, len(parts)) if parts[number] in variant.KEYS), None)
        if not equals or len(parts) < 2:
            raise place.error("expected MODEL.KEY=VALUE")
        if split is None:
            raise place.error(f"unknown key '{parts[-1]}'", hint=did_you_mean(parts[-1], variant.KEYS))
        key = parts[split]
        if key == "extends":
            raise place.error("'extends' cannot be set from the command line")
        value: Any
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError, KeyError):
            value = text
        if key in _TEXT_KEYS and isinstance(value, Scalar):
            value = value if isinstance(value, str) else text
        for name in reversed(parts[split + 1 :]):
            value = {name: value}
        return option, ".".join(parts[:split]), {key: value}

    def _variables(self) -> None:
        """Settle the value of every variable: `--var`, else the environment, else its default with variables filled in."""
        declared: Mapping[str, Scalar] = self.document.get("vars", {})
        for name in self.options.vars:
            if name not in declared:
                self.errors.append(Place(f"--var {name}").placed(variables.unknown(name, declared)))
        given: dict[str, Scalar] = {}
        for name, default in declared.items():
            option = f"MODELBUILD_VAR_{name}"
            raw = self.observed.env(option)
            if name in self.options.vars:
                option, raw = f"--var {name}", self.options.vars[name]
            if raw is not None:
                try:
                    given[name] = variables.typed(raw, default)
                except Error as error:
                    self.errors.append(Place(option).placed(error))
        self.vars, errors = variables.settle(declared, given)
        self.errors += (self.top.at("vars", name).placed(error) for name, error in errors)

    def string(self, table: Mapping[str, Any], key: str, place: Place) -> str:
        return self._filled(table.get(key, ""), place.at(key))

    def strings(self, values: Sequence[str], place: Place) -> tuple[str, ...]:
        return tuple(self._filled(value, place.at(number)) for number, value in enumerate(values))

    def _filled(self, text: str, place: Place) -> str:
        try:
            return as_text(variables.fill(text, self.vars))
        except Error as error:
            self.errors.append(place.placed(error))
            return ""

    # Modelfiles

    def _adopt(self, data: bytes) -> None:
        """Make a project of one Modelfile, named after it, or after its folder."""
        place = Place(self.shown(self.file))
        name = name_after(self.file) or os.path.basename(self.root)
        if self.options.name is None and not MODEL.fullmatch(name):
            hint = f"-t names it: -t {re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-.') or 'NAME'}"
            raise place.error(f"'{name}', after which the model would be named, is not a name", hint=hint)
        self.found[name] = self.file
        self._modelfiles[self.file] = None
        try:
            self._parse(self.file, data)
        except Error as error:
            self.errors.append(error)

    def _discover(self, table: Mapping[str, Any], here: Place, models: str | None) -> None:
        """Find the Modelfiles that the project's globs match, less those that a table names."""
        patterns = self.strings(table["modelfiles"], here.at("modelfiles")) if "modelfiles" in table else ("Modelfile",)
        named = {
            path: name for name, each in self.document.get("model", {}).items() for path in self._named_modelfiles(each)
        }
        finder = Finder(self.root, models, self.observed)
        paths: set[str] = set()
        for number, pattern in enumerate(patterns):
            place = here.at("modelfiles", number)
            try:
                matched = set(finder.files(pattern)) if pattern else set()
            except Error as error:
                self.errors.append(place.placed(error))
                continue
            except OSError as fault:
                self.errors.append(place.error(f"'{self.shown(fault.filename)}' cannot be read: {_reason(fault)}"))
                continue
            paths |= matched - named.keys()
            self._are_files |= matched
            if not matched and "modelfiles" in table:
                self.warnings.append(place.error(f"'{pattern}' matches no file"))
        template = self.string(table, "discover_as", here) or "{name}"
        names: dict[str, list[str]] = {}
        for path in sorted(paths):
            name = name_after(path, template)
            if name is None:
                hint = "a Modelfile is called Modelfile, NAME.Modelfile or Modelfile.NAME; [model.NAME] names any other"
                self.errors.append(Error("no model can be named after this file", path=self.shown(path), hint=hint))
            elif not MODEL.fullmatch(name):
                what = f"'{name}', after which the model would be named, is not a name"
                hint = f"name it in a table: [model.NAME] with modelfile = {_quoted(self.shown(path))}"
                self.errors.append(Error(what, path=self.shown(path), hint=hint))
            else:
                names.setdefault(name, []).append(path)
        for name, found in names.items():
            if len(found) > 1:
                self.errors.append(self._two_of_one_name(name, found, sorted(paths), here.at("modelfiles")))
            elif "modelfile" in self.document.get("model", {}).get(name, {}):
                what = f"'{self.shown(found[0])}' is found by that name too"
                hint = "rename one of them, or name the found one in a table of its own"
                self.errors.append(self.top.at("model", name, "modelfile").error(what, hint=hint))
            self.found[name] = found[0]
        self._parse_all(self.found.values(), here)

    def _named_modelfiles(self, table: Mapping[str, Any]) -> Iterator[str]:
        """The Modelfiles that a table names outright, for itself or for its rows."""
        axis = table.get("matrix", {}).get("modelfile", ())
        for text in (table.get("modelfile"), *(axis.values() if isinstance(axis, dict) else axis)):
            if isinstance(text, str) and text:
                try:
                    yield expand(as_text(variables.fill(text, self.vars)), self.root)
                except Error:  # said where the key is read
                    continue

    def _two_of_one_name(self, name: str, found: list[str], paths: list[str], place: Place) -> Error:
        template = telling_apart(paths)
        hint = f'in [project]: discover_as = "{template}"'
        if template is None:
            hint = f"give each a table of its own: [model.NAME] with modelfile = {_quoted(self.shown(found[1]))}"
        facts = [("found", "\n".join(self.shown(path) for path in found[:12]))]
        return place.error(f"{len(found)} Modelfiles make a model '{name}'", facts=facts, hint=hint)

    # Models

    def _variants(self, namespace: str | None) -> list[Variant]:
        tables: Mapping[str, Any] = self.document.get("model", {})
        models = dict.fromkeys(name for name in tables if not GLOB.search(name))
        models.update(dict.fromkeys(self.found))
        globs = [
            (re.compile(fnmatch.translate(name)).match, name, table)
            for name, table in tables.items()
            if GLOB.search(name)
        ]
        unmatched = {name for _, name, _ in globs}
        sets = [(re.compile(fnmatch.translate(pattern)).match, option, table) for option, pattern, table in self.sets]
        unset = {option: pattern for option, pattern, _ in self.sets}
        custom = mixes.read(self.document.get("ftype", {}), self.top, self.vars, self.errors)
        defaults = Layer(self.document.get("defaults", {}), self.top.at("defaults"))
        variants: list[Variant] = []
        common: dict[tuple[str, ...], dict[str, Said]] = {}
        for model in models:
            refining = {name: table for matches, name, table in globs if matches(model)}
            if (matched := tuple(refining)) not in common:
                unmatched.difference_update(matched)
                tables_on_top = (Layer(table, self.top.at("model", name)) for name, table in refining.items())
                common[matched] = lay([defaults, *tables_on_top])
            chain = self._chain(model, models)
            on_top = [Layer(table, Place(f"--set {option}")) for matches, option, table in sets if matches(model)]
            for layer in on_top:
                unset.pop(layer.place.file.removeprefix("--set "), None)
            if chain is not None and self.malformed.isdisjoint(matched):
                said = lay([*chain, *on_top, *self._own_options()], common[matched])
                variants += self._rows(model, said, on_top, namespace, custom)
        for name in sorted(unmatched - self.malformed):
            hint = did_you_mean(name.rstrip("*"), models)
            self.warnings.append(self.top.at("model", name).error("matches no model", hint=hint, value=False))
        for option, pattern in unset.items():
            what = f"matches no model: '{pattern}'" if GLOB.search(pattern) else f"unknown model '{pattern}'"
            self.errors.append(Place(f"--set {option}").error(what, hint=did_you_mean(pattern, models)))
        if not models and not self.errors:
            what = "no model: neither a [model.NAME] nor a Modelfile"
            self.warnings.append(Error(what, path=self.top.file))
        self._check_names(variants)
        return variants

    def _own_options(self) -> Iterator[Layer]:
        if self.options.name is not None:
            # A tag is what follows the last ':', unless that ends a host's name.
            name, colon, tag = self.options.name.rpartition(":")
            is_tag = bool(colon) and "/" not in tag
            table = {"name": name, "tag": tag} if is_tag else {"name": self.options.name}
            yield Layer(table, Place(f"-t {self.options.name}"))
        if self.options.quantize is not None:
            yield Layer({"quantize": self.options.quantize}, Place(f"-q {self.options.quantize}"))

    def _own(self, model: str) -> list[Layer]:
        """What a model says itself: the Modelfile found by its name, then its table."""
        layers = []
        if model in self.found:
            layers.append(Layer({"modelfile": self.found[model]}, Place(self.shown(self.found[model]))))
        table = self.document.get("model", {}).get(model)
        if table is not None:
            layers.append(Layer(table, self.top.at("model", model)))
        return layers

    def _chain(self, model: str, models: Collection[str]) -> list[Layer] | None:
        """A model's own layers over those that it extends; None where one of them is wrong."""
        layers = self._own(model)
        names = [model]
        while True:
            if names[-1] in self.malformed:
                return None
            table = self.document.get("model", {}).get(names[-1], {})
            if not table.get("extends"):
                return layers
            place = self.top.at("model", names[-1], "extends")
            parent = self._filled(table["extends"], place)
            if parent not in models:
                if parent:
                    what = f"'extends' names no model: '{parent}'"
                    self.errors.append(place.error(what, hint=did_you_mean(parent, models)))
                return None
            if parent in names or len(names) > DEPTH_LIMIT:
                if parent == model == next(each for each in models if each in names):
                    circle = " -> ".join([*names, parent])
                    self.errors.append(place.error(f"'extends' goes round in a circle: {circle}"))
                elif parent not in names:
                    self.errors.append(place.error(f"models extend one another more than {DEPTH_LIMIT} deep"))
                return None
            names.append(parent)
            inherited = [
                Layer({key: value for key, value in table.items() if key not in _NOT_COPIED}, here)
                for table, here in self._own(parent)
            ]
            layers = inherited + layers

    def _rows(
        self,
        model: str,
        said: dict[str, Said],
        on_top: Sequence[Layer],
        namespace: str | None,
        custom: Mapping[str, Said],
    ) -> list[Variant]:
        errors: list[Error] = []
        rows, axes = matrix.rows(said, variant.KEYS, self.vars, errors)
        for option, place in ((key, place) for table, place in on_top for key in table):
            if option in axes:
                hint = f"set the axis: --set '{model}.matrix.{option}=[…]'"
                errors.append(place.error(f"'{option}' is an axis of model '{model}'", hint=hint))
        table = self._place(model)
        if self._has_lost_tags(model, rows):
            hint = f"say which row is the default: [model.{model}.default]"
            errors.append(said["tags"].place.error("'tags' are for the default row, and there is none", hint=hint))
        named: list[tuple[Row, dict[str, Said], Scope, variant.Naming]] = []
        for row in rows if not errors else ():
            own = dict(said) if row.labels else said
            for (axis, _), (value, place) in zip(row.labels, row.values, strict=True):
                if axis in variant.KEYS:
                    put(own, axis, value, place)
            if row.extra:
                own = lay([*row.extra, *on_top], own)
            scope: Scope = {**self.vars, **row.scope()} if row.labels else self.vars
            named.append((row, own, scope, variant.name_row(model, row, own, scope, namespace, table, errors)))
        labels = self._labels(model, [(row, naming) for row, _, _, naming in named], table, errors)
        built = []
        for label, (row, own, scope, naming) in zip(labels, named, strict=True):
            text = self._modelfile_of(own, scope, errors)
            if not text and "modelfile" not in own and not ("from" in own and own["from"].value):
                near = did_you_mean(model, self.found)
                errors.append(table.error("neither 'from' nor 'modelfile'", hint=near, value=False))
            built.append(
                variant.build(model, label, naming.names, row, own, scope, table, text, self.root, self, custom, errors)
            )
        if not errors and not any(each.quantize for each in built):
            errors += self._unused_imatrices(built)
        self.errors += errors
        return built

    def _unused_imatrices(self, unquantized: Sequence[Variant]) -> Iterator[Error]:
        for each in unquantized:
            if each.imatrix and not is_shared(each.imatrix.place):
                what = f"'imatrix' says how to quantize, and '{each.model}' is not quantized"
                yield each.imatrix.place.error(what, hint="say 'quantize', or clear it: imatrix = \"\"")

    def _place(self, model: str) -> Place:
        """Where a model is declared: its table, else its Modelfile."""
        if model in self.document.get("model", {}):
            return self.top.at("model", model)
        return Place(self.shown(self.found[model]))

    def _has_lost_tags(self, model: str, rows: Sequence[Row]) -> bool:
        own = self.document.get("model", {}).get(model, {})
        return bool(own.get("tags")) and bool(rows) and not any(row.is_default for row in rows)

    def _labels(
        self, model: str, named: Sequence[tuple[Row, variant.Naming]], table: Place, errors: list[Error]
    ) -> list[str]:
        """What rows are called: by tag where tags tell them apart, else by their labels."""
        tags = [naming.tag if row.labels else "" for row, naming in named]
        if len(set(tags)) < len(tags):
            tags = [row.joined for row, _ in named]
        if len(set(tags)) < len(tags):
            twice = sorted({tag for tag in tags if tags.count(tag) > 1})
            facts = [("labels", listed(twice))]
            errors.append(table.at("matrix").error("several rows have the same labels", facts=facts, value=False))
        return [f"{model}:{tag}" if tag else model for tag in tags]

    def _modelfile_of(self, said: Mapping[str, Said], scope: Scope, errors: list[Error]) -> Modelfile | None:
        if "modelfile" not in said or not said["modelfile"].value:
            return None
        value, place = said["modelfile"]
        if value in self._modelfiles:
            return self._modelfiles[value]
        try:
            return self.modelfile(expand(as_text(variables.fill(value, scope)), self.root), place)
        except Error as error:
            errors.append(place.placed(error))
            return None

    def _check_names(self, variants: Sequence[Variant]) -> None:
        """Refuse two variants of one name; case does not tell names apart."""
        owners: dict[str, list[Variant]] = {}
        for each in variants:
            for name in each.names:
                owners.setdefault(name.path().lower(), []).append(each)
                if warning := name.reserved():
                    self.warnings.append(each.table.placed(warning))
        groups: dict[tuple[str, ...], tuple[Name, list[Variant]]] = {}
        for folded, clashing in owners.items():
            if len(clashing) > 1:
                name = next(each for each in clashing[1].names if each.path().lower() == folded)
                groups.setdefault(tuple(each.label for each in clashing), (name, clashing))
        for labels, (name, clashing) in groups.items():
            first, second = clashing[0], clashing[1]
            places = [str(each.place("name")) for each in clashing]
            pairs = [f"'{label}'  {place}" for label, place in zip(labels, places, strict=True)]
            if len(pairs) > 8:
                pairs = [*pairs[:7], f"… {len(pairs) - 7} more"]
            hint = "give one of them another `name` or `tag`"
            if first.model == second.model:
                axes = [axis for axis, _ in first.row]
                hint = "put every axis into `name` or `tag`: " + ", ".join(f"${{matrix.{axis}}}" for axis in axes)
            what = f"{len(clashing)} variants are to be called '{name.display()}'"
            place = second.place("name")
            self.errors.append(place.error(what, facts=[("variants", "\n".join(pairs))], hint=hint))

    # Targets

    def _check_targets(self, project: Project) -> None:
        """Refuse names that `default` and groups cannot mean; point out globs that match nothing."""
        targets, words = project.targets, project.targets.words
        declared = {*self.document.get("model", {}), *self.found}
        lists = [(("project", "default"), project.default)]
        lists += [(("group", name), members) for name, members in project.groups.items()]
        for key, members in lists:
            for number, member in enumerate(members):
                place = self.top.at(*key, number)
                if not member or member in project.groups or words.resolve(member) is not None:
                    continue
                if GLOB.search(member):
                    self.warnings.append(place.error(f"'{member}' matches nothing"))
                elif member not in declared and not (self.errors and re.search("[:/]", member)):
                    # Of a model that is wrong in itself nobody knows what its variants are called.
                    self.errors.append(place.placed(words.unknown(member)))
        for name in project.groups:
            circle = targets.circle(name)
            if circle and name == min(circle):
                what = f"goes round in a circle: {' -> '.join([*circle, name])}"
                self.errors.append(self.top.at("group", name).error(what, value=False))


def is_shared(place: Place) -> bool:
    """Whether [defaults] or a glob table says it, and so for models that it may not fit."""
    return place.key[:1] == ("defaults",) or (place.key[:1] == ("model",) and bool(GLOB.search(str(place.key[1]))))


def _quoted(text: str) -> str:
    """A text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False)


def _reason(fault: Exception) -> str:
    return (getattr(fault, "strerror", None) or str(fault)).lower()
