"""The tables and keys of a ModelBuild.toml: what checks a new text and describes it to editors."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from pydantic_core import SchemaValidator, ValidationError

from modelbuild import ftypes, metadata, mixes, modelfile, pretokenizers, quants, variables, variant
from modelbuild.errors import Error, did_you_mean
from modelbuild.locate import Path, Place
from modelbuild.shape import (
    ANY,
    BOOL,
    EMPTY,
    NUMBER,
    STRING,
    Field,
    Json,
    Shape,
    Table,
    listed,
    mapped,
    one_of,
    without_tags,
)
from modelbuild.variant import OUTTYPES, RESERVED, ROLES

GLOB = re.compile(r"[*?\[]")
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
DISCOVER_AS = re.compile(r"\{(name|folder|parent)\}")

_LATER = " (checked, not built yet)"
_EXPECTED = {
    "string_type": "a string",
    "bool_type": "true or false",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "a table",
}


def _parameters() -> Json:
    kinds = {"int": "integer", "float": "number", "bool": "boolean"}
    text = {"type": "string"}
    properties = {
        name: {"type": ["array", "string"], "items": text} if kind == "strings" else {"type": [kinds[kind], "string"]}
        for name, kind in modelfile.PARAMETERS.items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _metadata() -> Json:
    file = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}
    text: Json = {"anyOf": [{"type": "string"}, file]}
    kinds: dict[str, Json] = {
        "str": text, "i32": {"type": ["integer", "string"]}, "f32": {"type": ["number", "string"]}, "[str]": {"type": ["array", "string"]},
    }  # fmt: skip
    tables = {"type": ["array", "string"], "items": {"type": "object"}}
    properties = {key: kinds.get(form, tables) for key, form in metadata.GENERAL.items()}
    return {"type": "object", "properties": properties}


def _suggested(*known: str) -> Shape:
    """Words for an editor to offer, beside which any other may stand: in another case, of one's own, with variables."""
    return STRING.said({"anyOf": [{"enum": list(known)}, {"type": "string"}]})


def _words(*known: str) -> Shape:
    return STRING.said({"anyOf": [{"enum": list(known)}, {"type": "string", "pattern": r"\$\{"}]})


FileText = Table(
    "FileText",
    {"file": Field(STRING, "Path of a file that holds the text, relative to the ModelBuild.toml.", required=True)},
)

Scalar = one_of("a string, a number, true or false", STRING, NUMBER, BOOL)
Text = one_of("a string or { file = … }", STRING, FileText.shape)
Flag = one_of("true or false", BOOL, STRING)
Number = one_of("a number", NUMBER, STRING)
Strings = one_of("a list of strings", listed(STRING), EMPTY)
Labels = one_of("a label of the axis, or a list of them", STRING, NUMBER, BOOL, listed(Scalar))
Axis = one_of("a list of values or a table of labels and values", listed(Scalar), mapped(ANY), EMPTY)
Quantize = _suggested("none", *ftypes.KNOWN)
TensorType = _suggested(*quants.names())
Licenses = one_of("a text or a list of texts", STRING, FileText.shape, listed(Text))
Template = one_of("a string, { file = … } or false", STRING, FileText.shape, BOOL)

Adapter = Table(
    "Adapter",
    {
        "path": Field(STRING, "GGUF file or adapter folder, relative to the ModelBuild.toml.", required=True),
        "scale": Field(Number, "Factor on the adapter's own scale; only 1 is built yet.", 1.0),
        "mode": Field(
            _words("layer", "merge"),
            "'layer': Ollama applies it at run time; 'merge': into the weights (not built yet).",
            "layer",
        ),
    },
)

Message = Table(
    "Message",
    {
        "role": Field(_words(*ROLES), "Who speaks.", required=True),
        "content": Field(Text, "What is said.", required=True),
    },
)

Defaults = Table(
    "Defaults",
    {
        "quantize": Field(
            Quantize,
            "The ftype to quantize to, as `llama-quantize` names it, or a mix of [ftype.NAME]; 'none': as it is.",
            "none",
        ),
        "outtype": Field(_words(*OUTTYPES), "The type that weights are converted to before quantization.", "source"),
        "imatrix": Field(STRING, "Path of an importance matrix (imatrix, of either file form), for quantization.", ""),
        "allow_requantize": Field(
            Flag, "Quantize also what is quantized already, which adds a second error to the first.", False
        ),
        "adapter_mode": Field(_words("layer", "merge"), "The mode of adapters that say none.", "layer"),
        "system": Field(Text, 'SYSTEM; "" clears an inherited one.', ""),
        "template": Field(Template, 'TEMPLATE; false or "": none, also not the base\'s.', ""),
        "parameters": Field(
            mapped(ANY).said(_parameters()), 'PARAMETERs by name, laid over the Modelfile\'s; "" clears one.', {}
        ),
        "messages": Field(
            one_of("a list of tables { role = …, content = … }", listed(Message.shape), EMPTY),
            "MESSAGEs; replace all inherited ones.",
            [],
        ),
        "license": Field(Licenses, "LICENSEs; replace all inherited ones.", []),
        "renderer": Field(STRING, "RENDERER, a name that Ollama knows.", ""),
        "parser": Field(STRING, "PARSER, a name that Ollama knows.", ""),
        "requires": Field(STRING, "REQUIRES, the oldest version of Ollama that runs the model.", ""),
        "metadata": Field(mapped(ANY).said(_metadata()), 'Keys of the GGUF file to set; "" takes one away.', {}),
        "pre": Field(
            _suggested(*pretokenizers.NAMES),
            "What llama.cpp calls the pre-tokenizer, where the tokenizer's own files don't tell.",
            "",
        ),
        "link": Field(
            _words("copy", "hard"),
            "How an imported GGUF gets into the models folder: 'hard' for those who promise not to edit it.",
            "copy",
        ),
        "tag": Field(STRING, "The tag; with a matrix by default the labels of the row, joined by '-'.", "latest"),
        "tags": Field(Strings, "Further tags of a model, or of the default row of its matrix.", []),
    },
)

Model = Table(
    "Model",
    {
        **Defaults.fields,
        "modelfile": Field(STRING, "Path of the Modelfile, relative to the ModelBuild.toml.", ""),
        "from": Field(STRING, "A path, a model of the project, or a model's name; replaces FROM.", ""),
        "name": Field(STRING, "The name without its tag; default: the name of the table.", ""),
        "extends": Field(STRING, "A model whose table is copied first; not its tags and push.", ""),
        "adapters": Field(
            one_of("a list of tables { path = … }", listed(Adapter.shape), EMPTY),
            "Adapters, after the Modelfile's own.",
            [],
        ),
        "draft": Field(STRING, "DRAFT: a GGUF that drafts for speculative decoding.", ""),
        "projector": Field(STRING, "A GGUF with a vision or audio projector.", ""),
        "push": Field(Strings, "Registry names to push to." + _LATER, []),
        "description": Field(STRING, "For `modelbuild list`.", ""),
        "matrix": Field(
            mapped(Axis),
            "Axes, of which every combination is a variant: a key of a model or a free name, with a list of values or a table of "
            "labels and values.",
            {},
        ),
        "include": Field(listed(mapped(ANY)), "Rows to add, or keys to add to the rows that match.", []),
        "exclude": Field(listed(mapped(Labels)), "Rows to drop.", []),
        "default": Field(mapped(Labels), "The row that is also tagged 'latest' and gets `tags`.", {}),
    },
)

Project = Table(
    "Project",
    {
        "name": Field(STRING, "The project's name, for reports.", ""),
        "namespace": Field(STRING, "The namespace of names that have none; default: library.", ""),
        "modelfiles": Field(listed(STRING), "Globs of Modelfiles, each a model; ** is any depth.", ["Modelfile"]),
        "discover_as": Field(
            STRING, "What a found Modelfile is called: {name}, {folder} and {parent} are filled in.", "{name}"
        ),
        "models": Field(STRING, "The models folder to write; default: $OLLAMA_MODELS, else ~/.ollama/models.", ""),
        "default": Field(listed(STRING), "What `modelbuild` builds when no target is named; default: everything.", []),
    },
)

Ftype = Table(
    "Ftype",
    {
        "base": Field(_suggested(*ftypes.KNOWN), "The ftype whose rules hold where nothing else does.", required=True),
        "tensors": Field(
            mapped(TensorType),
            "Regular expression -> type of the tensors in whose name it is found; the first that is wins (--tensor-type).",
            {},
        ),
        "pure": Field(Flag, "Every tensor gets the base's main type, without its rules (--pure).", False),
        "output_tensor_type": Field(TensorType, "Type of the output tensor (--output-tensor-type).", ""),
        "token_embedding_type": Field(TensorType, "Type of the token embeddings (--token-embedding-type).", ""),
        "leave_output_tensor": Field(Flag, "The output tensor stays as it is (--leave-output-tensor).", False),
    },
)

Document = Table(
    "Document",
    {
        "project": Field(Project.shape, "The project as a whole."),
        "defaults": Field(Defaults.shape, "For every model that doesn't say otherwise."),
        "model": Field(mapped(Model.shape), 'Models; a glob such as "persona-*" refines all it matches.', {}),
        "ftype": Field(
            mapped(Ftype.shape), "Mixes of one's own, for `quantize`: an ftype, and what shall be otherwise.", {}
        ),
        "vars": Field(mapped(Scalar), '"${name}" in any string; MODELBUILD_VAR_name and --var override.', {}),
        "group": Field(mapped(listed(STRING)), "Targets that stand for several others.", {}),
    },
)

_TABLES = (FileText, Adapter, Message, Defaults, Model, Project, Ftype)


def keys(table: Table) -> tuple[str, ...]:
    return tuple(table.fields)


assert set(keys(Model)) == set(variant.KEYS)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a ModelBuild.toml."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ModelBuild.toml"}
    return {**head, **Document.described(), "$defs": {table.name: table.described() for table in _TABLES}}


class Checked(NamedTuple):
    """What is left of a text once everything malformed is taken out.

    document   the TOML as tomllib reads it
    errors     all that is wrong with the text taken by itself
    malformed  tables that lost something, for which nothing further should be said
    """

    document: dict[str, Any]
    errors: list[Error]
    malformed: frozenset[Path]


def check(text: str, file: str) -> Checked:
    """Parse and check a TOML text with LF line ends. Raises Error where it is not TOML."""
    document = _parse(text, file)
    root = Place(file, text)
    errors, malformed = _structure(document, root.at)
    for loc in malformed:
        _prune(document, loc)
    errors += _values(document, root)
    for name, table in document.get("model", {}).items():
        found = _row_errors(name, table, document, root)
        errors += found
        if found:
            malformed.append(("model", name))
    return Checked(document, errors, frozenset(malformed))


def check_table(table: Mapping[str, Any], place: Place, custom: frozenset[str]) -> list[Error]:
    """Check keys of a model that stand outside of the text; `custom` are the names of the text's own mixes."""
    return _model_errors(table, place.at, custom)


_VALIDATOR = SchemaValidator(Document.shape.core)
_At = Callable[..., Place]
"""Key path within a table -> its place."""


def _parse(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Error("lists or tables are nested too deeply", path=file) from None
    except ValueError as fault:
        what, line, column = str(fault), None, None
        if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", what, re.DOTALL):
            what, line, column = found[1], int(found[2]), int(found[3])
        elif found := re.fullmatch(r"(.*) \(at end of document\)", what, re.DOTALL):
            what, line = f"{found[1]} at the end of the file", text.count("\n") + (not text.endswith("\n"))
        if line is None:
            raise Error(f"not TOML: {what}", path=file) from None
        source = text.split("\n")[line - 1]
        column = min(column or len(source) + 1, len(source) + 1)
        hint = _toml_hint(what, source)
        what = re.sub(r"\('(.*?)',?\)", lambda found: f"'{found[1].replace(_BETWEEN_KEYS, '.')}'", what)
        what = f"not TOML: {what[:1].lower()}{what[1:]}"
        raise Error(what, path=file, line=line, column=column, source=source, hint=hint) from None


_BETWEEN_KEYS = "', '"


def _toml_hint(what: str, source: str) -> str | None:
    if what == "Invalid value" and re.search(r"=\s*[A-Za-z]", source):
        return "strings stand in quotes"
    if what.startswith("Illegal character '\\n'"):
        return "a string ends on its line, with the quote that begins it; a longer one stands in three quotes"
    if what.startswith("Unescaped '\\'"):
        return "in single quotes a backslash stands for itself: 'C:\\models'"
    if "twice" in what or "overwrite" in what:
        return "each key and each table may be said once"
    return None


def _structure(document: Mapping[str, Any], at: _At) -> tuple[list[Error], list[Path]]:
    """What is wrong with the types and the keys of a document, and the paths of it; `at` places a path."""
    try:
        _VALIDATOR.validate_python(document)
    except ValidationError as fault:
        found = fault.errors(include_url=False, include_context=False)
        paths = [without_tags(each["loc"]) for each in found]
        errors = [
            _translate(each["type"], each["msg"], loc, each.get("input"), at(*loc))
            for each, loc in zip(found, paths, strict=True)
        ]
        return errors, paths
    return [], []


def _translate(kind: str, message: str, loc: Path, value: Any, place: Place) -> Error:
    name = spelled(loc)
    if kind == "extra_forbidden":
        near = did_you_mean(str(loc[-1]), _known(loc))
        hint = near or _elsewhere(loc) if len(loc) == 1 else _elsewhere(loc) or near
        return place.error(f"unknown key '{loc[-1]}'", hint=hint, value=False)
    if kind == "missing":  # the locator falls back to the table
        return place.error(f"'{name}' is missing")
    if kind == "literal_error":
        return place.error(f"'{name}' expects a list, or \"\" to clear it, got {variables.got(value)}")
    expected = message if kind == "expects" else _EXPECTED.get(kind, message)
    return place.error(f"'{name}' expects {expected}, got {variables.got(value)}")


def spelled(loc: Path) -> str:
    """A key path as errors spell it, from its table on: `adapters[1].path`."""
    skip = (
        {"model": 2, "defaults": 1, "project": 1, "vars": 1, "group": 1, "ftype": 2}.get(str(loc[0]), 0) if loc else 0
    )
    parts = loc[skip:] if len(loc) > skip else loc[-1:]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _known(loc: Path) -> tuple[str, ...]:
    """The keys of the table that the last key of a path stands in."""
    match loc:
        case (_,):
            return keys(Document)
        case ("project", _):
            return keys(Project)
        case ("defaults", _):
            return keys(Defaults)
        case ("ftype", _, _):
            return keys(Ftype)
        case ("model", _, _):
            return keys(Model)
        case (*_, "adapters", int(), _):
            return keys(Adapter)
        case (*_, "messages", int(), _):
            return keys(Message)
    return keys(FileText)


def _elsewhere(loc: Path) -> str | None:
    """A hint for a key that is right, in another table."""
    key = str(loc[-1])
    if len(loc) == 2 and loc[0] == "defaults" and key in keys(Model):
        return f"'{key}' belongs to a model: [model.NAME], or [model.\"*\"] for all of them"
    if len(loc) == 3 and loc[0] == "model" and key in modelfile.PARAMETERS:
        return f"parameters stand in a table of their own: parameters = {{ {key} = … }}"
    if len(loc) == 1 and key in keys(Project):
        return f"'{key}' belongs into [project]"
    return f"models stand in [model.NAME]: [model.{key}]" if len(loc) == 1 and WORD.fullmatch(key) else None


def _prune(document: dict[str, Any], loc: Path) -> None:
    depth = 3 if loc[0] in ("model", "ftype") else 2
    table: Any = document
    for part in loc[: min(depth, len(loc)) - 1]:
        table = table.get(part) if isinstance(table, dict) else None
    if isinstance(table, dict):
        table.pop(loc[min(depth, len(loc)) - 1], None)


# What no shape can say


def _values(document: Mapping[str, Any], root: Place) -> list[Error]:
    errors: list[Error] = []
    names = document.get("vars", {})
    custom = variant.custom_ftypes(document)
    for path, text in _strings(document):
        # A `${matrix.…}` is looked up per row.
        try:
            for part in variables.parts(text) if "${" in text else ():
                if isinstance(part, variables.Reference) and "." not in part.name and part.name not in names:
                    raise variables.unknown(part.name, names)
        except Error as error:
            errors.append(root.at(*path).placed(error))
    for name, value in names.items():
        here = root.at("vars", name)
        if not variables.NAME.fullmatch(name) or name == "matrix":
            what = f"'{name}' cannot name a variable"
            why = ": '${matrix.AXIS}' is a row's" if name == "matrix" else ": expected letters, digits and '_'"
            errors.append(here.error(what + why, value=False))
        if isinstance(value, float) and not math.isfinite(value):
            errors.append(here.error(f"'{name}' expects a finite number, got {value}"))
    discover_as = document.get("project", {}).get("discover_as", "{name}")
    if re.search(r"[{}]", DISCOVER_AS.sub("", discover_as)) or not DISCOVER_AS.search(discover_as):
        what = "'discover_as' expects some of {name}, {folder} and {parent}, got " + variables.got(discover_as)
        if "${" not in discover_as:
            errors.append(root.at("project", "discover_as").error(what))
    for name, table in document.get("ftype", {}).items():
        errors += _ftype_values(name, table, root.at("ftype", name))
    for name in document.get("group", {}):
        if not WORD.fullmatch(name):
            what = f"'{name}' cannot name a group: expected letters, digits, '_', '-' and '.'"
            errors.append(root.at("group", name).error(what, value=False))
    errors += _table_values(document.get("defaults", {}), root.at("defaults").at, custom)
    for name, table in document.get("model", {}).items():
        here = root.at("model", name)
        errors += _table_values(table, here.at, custom)
        if not GLOB.search(name):
            if not all(WORD.fullmatch(part) for part in name.split("/")):
                what = f"'{name}' cannot name a model: expected letters, digits, '_', '-' and '.'"
                errors.append(here.error(what, value=False))
            continue
        for key in ("modelfile", "extends"):
            if key in table:
                errors.append(here.at(key).error(f"a glob table refines models, and takes no '{key}'", value=False))
    return errors


def _row_errors(name: str, table: Mapping[str, Any], document: Mapping[str, Any], root: Place) -> list[Error]:
    """What is wrong with the values of axes, and with keys that `include` adds to rows."""
    errors: list[Error] = []
    here = root.at("model", name)
    custom = variant.custom_ftypes(document)
    for axis, values in table.get("matrix", {}).items():
        for label, value in values.items() if isinstance(values, dict) else enumerate(values):
            errors += _axis_value(axis, value, here.at("matrix", axis, label), custom)
    # A key that is an axis somewhere may name a label of it here.
    axes = {axis for each in document.get("model", {}).values() for axis in each.get("matrix", {})}
    for number, entry in enumerate(table.get("include", ())):
        extra = {key: value for key, value in entry.items() if key in variant.KEYS and key not in axes}
        errors += _model_errors(extra, here.at("include", number).at, custom)
    return errors


def _axis_value(axis: str, value: Any, place: Place, custom: frozenset[str]) -> list[Error]:
    if axis in variant.KEYS:
        return _model_errors({axis: value}, lambda key, *more: place.at(*more), custom)
    if isinstance(value, variables.Scalar) and not (isinstance(value, float) and not math.isfinite(value)):
        return []
    expected = "a string, a number, true or false"
    return [place.error(f"a value of axis '{axis}' expects {expected}, got {variables.got(value)}")]


def _model_errors(table: Mapping[str, Any], at: _At, custom: frozenset[str]) -> list[Error]:
    within = _structure({"model": {"": table}}, lambda *path: at(*path[2:]))[0]
    return within or _table_values(table, at, custom)


def _table_values(table: Mapping[str, Any], at: _At, custom: frozenset[str]) -> list[Error]:
    """Check the values of a table of model keys that hold no `${…}`: those are checked once they are filled in."""
    errors: list[Error] = []

    def value(raw: Any, here: Place, check: Callable[[Any], object]) -> None:
        if not variables.has_references(raw):
            try:
                check(raw)
            except Error as error:
                errors.append(here.placed(error))

    for key, raw in table.items():
        here = at(key)
        if key in RESERVED:
            errors.append(here.placed(variant.not_built_yet(f"'{key}'")))
        elif key in variant.CHECKS:
            value(raw, here, variant.CHECKS[key])
        elif key == "quantize":
            value(raw, here, lambda text: variant.ftype(text, custom))
        elif key == "template" and raw is True:
            errors.append(here.error("'template' expects a string, { file = … } or false, got true"))
        elif key == "parameters":
            for name, item in raw.items():
                if not (isinstance(item, list) and any(map(variables.has_references, item))):
                    value(item, here.at(name), partial(variant.parameter, name))
        elif key == "metadata":
            errors += _metadata_errors(raw, here)
        elif key == "adapters":
            for number, entry in enumerate(raw):
                value(entry.get("mode", "layer"), here.at(number, "mode"), variant.adapter_mode)
                value(entry.get("scale", 1), here.at(number, "scale"), variant.adapter_scale)
        elif key == "messages":
            for number, entry in enumerate(raw):
                value(entry["role"], here.at(number, "role"), variant.role)
    return errors


def _metadata_errors(table: Mapping[str, Any], place: Place) -> Iterator[Error]:
    for key, raw, path in metadata.flat(table):
        try:
            metadata.check_key(key)
            if not any("${" in text for _, text in _strings(raw)):
                metadata.check(key, raw)
        except Error as error:
            yield place.at(*path).placed(error)


def _ftype_values(name: str, table: Mapping[str, Any], place: Place) -> Iterator[Error]:
    if not WORD.fullmatch(name):
        what = f"'{name}' cannot name an ftype: expected letters, digits, '_', '-' and '.'"
        yield place.error(what, value=False)
    elif ftypes.canonical(name) or name.casefold() == "none":
        yield place.error(f"'{name}' is an ftype already", hint="give the mix a name of its own", value=False)
    for pattern in table.get("tensors", {}):
        try:
            mixes.check_pattern(pattern)
        except Error as error:
            yield place.at("tensors", pattern).error(error.what, value=False)


def _strings(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, (*path, number))
