"""The shape of a ModelBuild.toml: pydantic models that check a new text and describe it to editors."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError, WithJsonSchema

from modelbuild import ftypes, metadata, mixes, modelfile, pretokenizers, quants, variables, variant
from modelbuild.errors import Error, did_you_mean
from modelbuild.locate import Path, Place
from modelbuild.variant import OUTTYPES, RESERVED, ROLES

GLOB = re.compile(r"[*?\[]")
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
DISCOVER_AS = re.compile(r"\{(name|folder|parent)\}")

_LATER = " (checked, not built yet)"
_TAGS = {str: "\0string", bool: "\0bool", int: "\0number", float: "\0number", list: "\0list", dict: "\0table"}
_EXPECTED = {
    "string_type": "a string",
    "bool_type": "true or false",
    "float_type": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}


def _kind(value: Any) -> str | None:
    return _TAGS.get(type(value))


def _one_of(what: str, *, custom: str = "expects") -> Any:
    return Discriminator(_kind, custom_error_type=custom, custom_error_message=what)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class FileText(_Table):
    file: str = Field(description="Path of a file that holds the text, relative to the ModelBuild.toml.")


_String = Annotated[str, Tag("\0string")]
_Number = Annotated[float, Field(allow_inf_nan=False), Tag("\0number")]
_Bool = Annotated[bool, Tag("\0bool")]
_FromFile = Annotated[FileText, Tag("\0table")]
_Empty = Annotated[Literal[""], Tag("\0string")]

Scalar = Annotated[_String | _Number | _Bool, _one_of("a string, a number, true or false")]
Text = Annotated[_String | _FromFile, _one_of("a string or { file = … }")]
Flag = Annotated[_Bool | _String, _one_of("true or false")]
Number = Annotated[_Number | _String, _one_of("a number")]
Strings = Annotated[Annotated[list[str], Tag("\0list")] | _Empty, _one_of("a list of strings")]
Labels = Annotated[
    _String | _Number | _Bool | Annotated[list[Scalar], Tag("\0list")],
    _one_of("a label of the axis, or a list of them"),
]
Axis = Annotated[
    Annotated[list[Scalar], Tag("\0list")] | Annotated[dict[str, Any], Tag("\0table")] | _Empty,
    _one_of("a list of values or a table of labels and values"),
]


def _parameters_schema() -> dict[str, Any]:
    kinds = {"int": "integer", "float": "number", "bool": "boolean"}
    text = {"type": "string"}
    properties = {
        name: {"type": ["array", "string"], "items": text} if kind == "strings" else {"type": [kinds[kind], "string"]}
        for name, kind in modelfile.PARAMETERS.items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _metadata_schema() -> dict[str, Any]:
    file = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}
    text: dict[str, Any] = {"anyOf": [{"type": "string"}, file]}
    kinds: dict[str, dict[str, Any]] = {
        "str": text, "i32": {"type": ["integer", "string"]}, "f32": {"type": ["number", "string"]}, "[str]": {"type": ["array", "string"]},
    }  # fmt: skip
    tables = {"type": ["array", "string"], "items": {"type": "object"}}
    properties = {key: kinds.get(form, tables) for key, form in metadata.GENERAL.items()}
    return {"type": "object", "properties": properties}


def _suggested(*known: str) -> Any:
    """Words for an editor to offer, beside which any other may stand: in another case, of one's own, with variables."""
    return WithJsonSchema({"anyOf": [{"enum": list(known)}, {"type": "string"}]})


def _words(*known: str) -> Any:
    return WithJsonSchema({"anyOf": [{"enum": list(known)}, {"type": "string", "pattern": r"\$\{"}]})


class Adapter(_Table):
    path: str = Field(description="GGUF file or adapter folder, relative to the ModelBuild.toml.")
    scale: Number = Field(1.0, description="Factor on the adapter's own scale; only 1 is built yet.")
    mode: Annotated[str, _words("layer", "merge")] = Field(
        "layer", description="'layer': Ollama applies it at run time; 'merge': into the weights (not built yet)."
    )


class Message(_Table):
    role: Annotated[str, _words(*ROLES)] = Field(description="Who speaks.")
    content: Text = Field(description="What is said.")


Parameters = Annotated[dict[str, Any], WithJsonSchema(_parameters_schema())]
Metadata = Annotated[dict[str, Any], WithJsonSchema(_metadata_schema())]
Quantize = Annotated[str, _suggested("none", *ftypes.KNOWN)]
TensorType = Annotated[str, _suggested(*quants.names())]
Adapters = Annotated[Annotated[list[Adapter], Tag("\0list")] | _Empty, _one_of("a list of tables { path = … }")]
Messages = Annotated[
    Annotated[list[Message], Tag("\0list")] | _Empty, _one_of("a list of tables { role = …, content = … }")
]
Licenses = Annotated[_String | _FromFile | Annotated[list[Text], Tag("\0list")], _one_of("a text or a list of texts")]
Template = Annotated[_String | _FromFile | _Bool, _one_of("a string, { file = … } or false")]


class Defaults(_Table):
    quantize: Quantize = Field(
        "none",
        description="The ftype to quantize to, as `llama-quantize` names it, or a mix of [ftype.NAME]; 'none': as it is.",
    )
    outtype: Annotated[str, _words(*OUTTYPES)] = Field(
        "source", description="The type that weights are converted to before quantization."
    )
    imatrix: str = Field(
        "", description="Path of an importance matrix (imatrix, of either file form), for quantization."
    )
    allow_requantize: Flag = Field(
        False, description="Quantize also what is quantized already, which adds a second error to the first."
    )
    adapter_mode: Annotated[str, _words("layer", "merge")] = Field(
        "layer", description="The mode of adapters that say none."
    )
    system: Text = Field("", description='SYSTEM; "" clears an inherited one.')
    template: Template = Field("", description='TEMPLATE; false or "": none, also not the base\'s.')
    parameters: Parameters = Field({}, description='PARAMETERs by name, laid over the Modelfile\'s; "" clears one.')
    messages: Messages = Field([], description="MESSAGEs; replace all inherited ones.")
    license: Licenses = Field([], description="LICENSEs; replace all inherited ones.")
    renderer: str = Field("", description="RENDERER, a name that Ollama knows.")
    parser: str = Field("", description="PARSER, a name that Ollama knows.")
    requires: str = Field("", description="REQUIRES, the oldest version of Ollama that runs the model.")
    metadata: Metadata = Field({}, description='Keys of the GGUF file to set; "" takes one away.')
    pre: Annotated[str, _suggested(*pretokenizers.NAMES)] = Field(
        "", description="What llama.cpp calls the pre-tokenizer, where the tokenizer's own files don't tell."
    )
    link: Annotated[str, _words("copy", "hard")] = Field(
        "copy",
        description="How an imported GGUF gets into the models folder: 'hard' for those who promise not to edit it.",
    )
    tag: str = Field("latest", description="The tag; with a matrix by default the labels of the row, joined by '-'.")
    tags: Strings = Field([], description="Further tags of a model, or of the default row of its matrix.")


class Model(Defaults):
    modelfile: str = Field("", description="Path of the Modelfile, relative to the ModelBuild.toml.")
    from_: str = Field(
        "", alias="from", description="A path, a model of the project, or a model's name; replaces FROM."
    )
    name: str = Field("", description="The name without its tag; default: the name of the table.")
    extends: str = Field("", description="A model whose table is copied first; not its tags and push.")
    adapters: Adapters = Field([], description="Adapters, after the Modelfile's own.")
    draft: str = Field("", description="DRAFT: a GGUF that drafts for speculative decoding.")
    projector: str = Field("", description="A GGUF with a vision or audio projector.")
    push: Strings = Field([], description="Registry names to push to." + _LATER)
    description: str = Field("", description="For `modelbuild list`.")
    matrix: dict[str, Axis] = Field(
        {}, description="Axes, of which every combination is a variant: a key of a model or a free name, with a list of "
        "values or a table of labels and values."
    )  # fmt: skip
    include: list[dict[str, Any]] = Field([], description="Rows to add, or keys to add to the rows that match.")
    exclude: list[dict[str, Labels]] = Field([], description="Rows to drop.")
    default: dict[str, Labels] = Field({}, description="The row that is also tagged 'latest' and gets `tags`.")


class Project(_Table):
    name: str = Field("", description="The project's name, for reports.")
    namespace: str = Field("", description="The namespace of names that have none; default: library.")
    modelfiles: list[str] = Field(["Modelfile"], description="Globs of Modelfiles, each a model; ** is any depth.")
    discover_as: str = Field(
        "{name}", description="What a found Modelfile is called: {name}, {folder} and {parent} are filled in."
    )
    models: str = Field("", description="The models folder to write; default: $OLLAMA_MODELS, else ~/.ollama/models.")
    default: list[str] = Field([], description="What `modelbuild` builds when no target is named; default: everything.")


class Ftype(_Table):
    base: Annotated[str, _suggested(*ftypes.KNOWN)] = Field(
        description="The ftype whose rules hold where nothing else does."
    )
    tensors: dict[str, TensorType] = Field(
        {},
        description="Regular expression -> type of the tensors in whose name it is found; the first that is wins (--tensor-type).",
    )
    pure: Flag = Field(False, description="Every tensor gets the base's main type, without its rules (--pure).")
    output_tensor_type: TensorType = Field("", description="Type of the output tensor (--output-tensor-type).")
    token_embedding_type: TensorType = Field("", description="Type of the token embeddings (--token-embedding-type).")
    leave_output_tensor: Flag = Field(False, description="The output tensor stays as it is (--leave-output-tensor).")


class Document(_Table):
    project: Project = Field(default_factory=Project.model_construct, description="The project as a whole.")
    defaults: Defaults = Field(
        default_factory=Defaults.model_construct, description="For every model that doesn't say otherwise."
    )
    model: dict[str, Model] = Field({}, description='Models; a glob such as "persona-*" refines all it matches.')
    ftype: dict[str, Ftype] = Field(
        {}, description="Mixes of one's own, for `quantize`: an ftype, and what shall be otherwise."
    )
    vars: dict[str, Scalar] = Field({}, description='"${name}" in any string; MODELBUILD_VAR_name and --var override.')
    group: dict[str, list[str]] = Field({}, description="Targets that stand for several others.")


def keys(table: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in table.model_fields.items())


assert keys(Model) and set(keys(Model)) == set(variant.KEYS)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a ModelBuild.toml."""
    schema = Document.model_json_schema(by_alias=True)
    schema.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ModelBuild.toml", **schema}


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
    errors, malformed = _structure(_DOCUMENT, document, root.at)
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


_DOCUMENT, _MODEL = TypeAdapter(Document), TypeAdapter(Model)
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


def _structure(adapter: TypeAdapter[Any], document: Any, at: _At) -> tuple[list[Error], list[Path]]:
    try:
        adapter.validate_python(document)
    except ValidationError as fault:
        errors, paths = [], []
        for each in fault.errors(include_url=False, include_context=False):
            loc = tuple(part for part in each["loc"] if not (isinstance(part, str) and part.startswith("\0")))
            paths.append(loc)
            inside = loc if adapter is _DOCUMENT else ("model", "", *loc)
            errors.append(_translate(each["type"], each["msg"], inside, each.get("input"), at(*loc)))
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
    return _structure(_MODEL, table, at)[0] or _table_values(table, at, custom)


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
