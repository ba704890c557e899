"""The shape of a ModelBuild.toml: pydantic models that check it and describe it to editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from modelbuild import shapes, words
from modelbuild.checkpoint import metadata
from modelbuild.errors import Error
from modelbuild.ollama.modelfile.grammar import ROLES
from modelbuild.ollama.modelfile.parameters import PARAMETERS
from modelbuild.project.allowed import ADAPTER_MODES
from modelbuild.project.discovery import WORD
from modelbuild.project.keys import KEYS, LINKS, Holds, Key
from modelbuild.project.locate import At, Path, Place
from modelbuild.project.mistakes import as_adapter, as_rows
from modelbuild.project.remote_cache import MODES
from modelbuild.tensors import ftypes, quants
from modelbuild.words import did_you_mean

Whole = Literal["document", "model"]
"""What a shape is the shape of: a whole text, or the table of one model."""

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


def _tag(value: Any) -> str | None:
    return _TAGS.get(type(value))


def _one_of(what: str, *, custom: str = "expects") -> Any:
    return Discriminator(_tag, custom_error_type=custom, custom_error_message=what)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class FileText(_Table):
    file: str = Field(description="Path of a text file, relative to the ModelBuild.toml.")


_String = Annotated[str, Tag("\0string")]
_Number = Annotated[float, Field(allow_inf_nan=False), Tag("\0number")]
_Bool = Annotated[bool, Tag("\0bool")]
_FromFile = Annotated[FileText, Tag("\0table")]
_Empty = Annotated[Literal[""], Tag("\0string")]

Scalar = Annotated[_String | _Number | _Bool, _one_of("a string, a number, true or false")]
Text = Annotated[_String | _FromFile, _one_of("a string or { file = … }")]
Flag = Annotated[_Bool | _String, _one_of("true or false")]
Number = Annotated[_Number | _String, _one_of("a number")]
Split = Annotated[_String | _Number, _one_of("a size such as '50GB', or a number of tensors")]
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
    types = {"int": "integer", "float": "number", "bool": "boolean"}
    text = {"type": "string"}
    properties = {
        name: {"type": ["array", "string"], "items": text} if type_ == "strings" else {"type": [types[type_], "string"]}
        for name, type_ in PARAMETERS.items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _metadata_schema() -> dict[str, Any]:
    file = {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]}
    text: dict[str, Any] = {"anyOf": [{"type": "string"}, file]}
    types: dict[str, dict[str, Any]] = {
        "str": text, "i32": {"type": ["integer", "string"]}, "f32": {"type": ["number", "string"]}, "[str]": {"type": ["array", "string"]},
    }  # fmt: skip
    tables = {"type": ["array", "string"], "items": {"type": "object"}}
    properties = {key: types.get(type_, tables) for key, type_ in metadata.GENERAL.items()}
    return {"type": "object", "properties": properties}


def _suggested(*known: str) -> Any:
    """Words for an editor to offer, beside which any other may stand: in another case, of one's own, with variables."""
    return WithJsonSchema({"anyOf": [{"enum": list(known)}, {"type": "string"}]})


def _words(*known: str) -> Any:
    return WithJsonSchema({"anyOf": [{"enum": list(known)}, {"type": "string", "pattern": r"\$\{"}]})


class Adapter(_Table):
    path: str = Field(
        description="Folder of PEFT or MLX, safetensors file or GGUF file, relative to the ModelBuild.toml."
    )
    scale: Number = Field(1.0, description="Factor on the adapter's own scale.")
    mode: Annotated[str, _words(*ADAPTER_MODES)] = Field(
        "layer", description="'layer': Ollama applies it at run time; 'merge': into the weights."
    )
    allow_zero: Flag = Field(False, description="Take it also where it changes nothing: one that is not trained yet.")


class Export(_Table):
    as_: Annotated[str, _words(*shapes.names())] = Field(alias="as", description="The shape: for which runner.")
    path: str = Field(description="The folder to write to, relative to the ModelBuild.toml.")
    split: Split = Field("", description="The largest size of a GGUF file, as '50GB', or its number of tensors.")
    link: Annotated[str, _words(*LINKS)] = Field(
        "copy", description="'hard': hard links to the cache, for files that nobody edits."
    )


class Push(_Table):
    to: str = Field(description="The name in a registry.")
    as_: Annotated[str, _words(*shapes.pushed())] = Field("", alias="as", description="The shape: for which runner.")
    split: Split = Field("", description="The largest size of a GGUF file, as '10GB', or its number of tensors.")


class Message(_Table):
    role: Annotated[str, _words(*ROLES)] = Field(description="The role of the speaker.")
    content: Text = Field(description="The text of the message.")


class Calibration(_Table):
    text: str = Field(description="Path of a text, relative to the ModelBuild.toml.")
    chunks: Number = Field("", description="How many pieces of 512 tokens to read; default: all.")


class Gate(_Table):
    kld: Number = Field("", description="The largest mean KL divergence from the weights before quantization, in nats.")
    text: str = Field("", description="Path of the text to compare on; default: that of `imatrix`.")
    chunks: Number = Field("", description="How many pieces of 512 tokens to compare; default: all.")


ImportanceMatrix = Annotated[
    _String | Annotated[Calibration, Tag("\0table")], _one_of('a path, or a table { text = "…", chunks = … }')
]
Parameters = Annotated[dict[str, Any], WithJsonSchema(_parameters_schema())]
Metadata = Annotated[dict[str, Any], WithJsonSchema(_metadata_schema())]
TensorType = Annotated[str, _suggested(*quants.names())]
Adapters = Annotated[Annotated[list[Adapter], Tag("\0list")] | _Empty, _one_of("a list of tables { path = … }")]
Exports = Annotated[
    Annotated[list[Export], Tag("\0list")] | _Empty, _one_of('a list of tables { as = "…", path = "…" }')
]
Pushes = Annotated[
    Annotated[
        list[
            Annotated[_String | Annotated[Push, Tag("\0table")], _one_of('a string or a table { to = "…", as = "…" }')]
        ],
        Tag("\0list"),
    ]
    | _Empty,
    _one_of('a list of strings, or of tables { to = "…", as = "…" }'),
]
Messages = Annotated[
    Annotated[list[Message], Tag("\0list")] | _Empty, _one_of("a list of tables { role = …, content = … }")
]
Licenses = Annotated[_String | _FromFile | Annotated[list[Text], Tag("\0list")], _one_of("a text or a list of texts")]
PathOrFalse = Annotated[_String | _Bool, _one_of("a string or false")]
Template = Annotated[_String | _FromFile | _Bool, _one_of("a string, { file = … } or false")]


_SHAPES: Mapping[Holds, tuple[Any, Any]] = {
    "string": (str, ""),
    "word": (str, ""),
    "text": (Text, ""),
    "text or false": (Template, ""),
    "path": (str, ""),
    "path or word or false": (PathOrFalse, ""),
    "path or text": (ImportanceMatrix, ""),
    "gate": (Gate, {}),
    "flag": (Flag, False),
    "strings": (Strings, []),
    "texts": (Licenses, []),
    "adapters": (Adapters, []),
    "messages": (Messages, []),
    "exports": (Exports, []),
    "pushes": (Pushes, []),
    "parameters": (Parameters, {}),
    "metadata": (Metadata, {}),
    "axes": (dict[str, Axis], {}),
    "rows": (list[dict[str, Any]], []),
    "conditions": (list[dict[str, Labels]], []),
    "condition": (dict[str, Labels], {}),
}
"""What a key holds -> its shape, and its value where nobody says it."""


def _field(key: Key) -> tuple[Any, Any]:
    shape, default = _SHAPES[key.holds]
    if key.words:
        shape = Annotated[shape, _words(*key.words) if key.holds == "word" else _suggested(*key.words)]
    return shape, Field(key.default or default, description=key.description)


def _table_of(name: str, base: type[_Table], known: Mapping[str, Key]) -> Any:
    """A table with a field for each key, after those of `base`."""
    fields: dict[str, Any] = {key: _field(record) for key, record in known.items()}
    return create_model(name, __base__=base, __module__=__name__, **fields)


# Any: no type checker follows a model that is made while the program runs, and nobody but pydantic looks into these.
Defaults: Any = _table_of("Defaults", _Table, {name: key for name, key in KEYS.items() if key.widest == "defaults"})
Model: Any = _table_of("Model", Defaults, {name: key for name, key in KEYS.items() if key.widest != "defaults"})


class Project(_Table):
    name: str = Field("", description="The project's name, for reports; of a part, its name.")
    namespace: str = Field("", description="The namespace of names that have none; default: library.")
    modelfiles: list[str] = Field(["Modelfile"], description="Globs of Modelfiles, each a model; ** is any depth.")
    discover_as: str = Field(
        "{name}", description="Name of a model from a found Modelfile; {name}, {folder} and {parent} are filled in."
    )
    models: str = Field("", description="The models folder to write; default: $OLLAMA_MODELS, else ~/.ollama/models.")
    default: list[str] = Field([], description="The targets to build when none is named; default: everything.")
    include: list[str] = Field(
        [], description="Globs of other files named ModelBuild.toml, each a part with models of its own."
    )


class Ftype(_Table):
    base: Annotated[str, _suggested(*ftypes.KNOWN)] = Field(
        description="The type whose rules apply where nothing else does."
    )
    tensors: dict[str, TensorType] = Field(
        {},
        description="Regular expression -> type of the tensors whose name matches it anywhere; the first match wins (--tensor-type).",
    )
    pure: Flag = Field(False, description="Give every tensor the base's main type, without its rules (--pure).")
    output_tensor_type: TensorType = Field("", description="Type of the output tensor (--output-tensor-type).")
    token_embedding_type: TensorType = Field("", description="Type of the token embeddings (--token-embedding-type).")
    leave_output_tensor: Flag = Field(False, description="Keep the output tensor as it is (--leave-output-tensor).")


class Tools(_Table):
    llama_cpp: str = Field(
        "", description="Folder of llama.cpp's source, with its converter, and perhaps its binaries."
    )
    binaries: str = Field("", description="Folder of llama.cpp's binaries; default: llama_cpp.")
    python: str = Field("", description="The Python that runs llama.cpp's converter, with torch and transformers.")


class Cache(_Table):
    remote: str = Field("", description="URL of a store that several machines share: file://, https:// or http://.")
    mode: Annotated[str, _words(*MODES)] = Field(
        MODES[0], description="Whether results are taken from it, sent there, or both."
    )
    foreign: Flag = Field(False, description="Share also what programs of your own made.")
    sign: str = Field("", description="Path of the Ed25519 key that signs what is sent.")
    trust: list[str] = Field([], description="Public keys, 'ssh-ed25519 …': what none of them signed is not taken.")


class Document(_Table):
    project: Project = Field(default_factory=Project.model_construct, description="The project as a whole.")
    defaults: Defaults = Field(default_factory=Defaults.model_construct, description="Defaults of every model.")
    model: dict[str, Model] = Field({}, description='Models; a glob such as "persona-*" refines all it matches.')
    ftype: dict[str, Ftype] = Field({}, description="Custom mixes for `quantize`: a type and its exceptions.")
    tools: Tools = Field(default_factory=Tools.model_construct, description="Programs of your own that make models.")
    cache: Cache = Field(default_factory=Cache.model_construct, description="The cache that machines share.")
    vars: dict[str, Scalar] = Field({}, description='"${name}" in any string; MODELBUILD_VAR_name and --var override.')
    group: dict[str, list[str]] = Field({}, description="Names for several targets.")


def keys(table: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in table.model_fields.items())


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a ModelBuild.toml."""
    schema = Document.model_json_schema(by_alias=True)
    schema.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ModelBuild.toml", **schema}


_WHOLE: dict[Whole, TypeAdapter[Any]] = {"document": TypeAdapter(Document), "model": TypeAdapter(Model)}


def faults(whole: Whole, value: Any, at: At) -> tuple[list[Error], list[Path]]:
    """What is wrong with the shape of a document, or of one model's table; and where, from the root of `value`.

    All that counts is what `document.shape` keeps: keys, the kinds of values, whether a string is empty and a number finite.
    """
    try:
        _WHOLE[whole].validate_python(value)
    except ValidationError as fault:
        errors, paths = [], []
        for each in fault.errors(include_url=False, include_context=False):
            loc = tuple(part for part in each["loc"] if not (isinstance(part, str) and part.startswith("\0")))
            paths.append(loc)
            inside = loc if whole == "document" else ("model", "", *loc)
            errors.append(_translate(each["type"], each["msg"], inside, each.get("input"), at(*loc)))
        return errors, paths
    return [], []


def _translate(fault: str, message: str, loc: Path, value: Any, place: Place) -> Error:
    name = spelled(loc)
    if fault == "extra_forbidden":
        near = did_you_mean(str(loc[-1]), _known(loc))
        hint = near or _elsewhere(loc) if len(loc) == 1 else _elsewhere(loc) or near
        return place.error(f"unknown key '{loc[-1]}'", hint=hint, value=False)
    if fault == "missing":  # the locator falls back to the table
        return place.error(f"'{name}' is missing")
    if fault == "literal_error":
        hint = as_adapter(loc, value)
        return place.error(f"'{name}' expects a list, or \"\" to clear it, got {words.got(value)}", hint=hint)
    expected = message if fault == "expects" else _EXPECTED.get(fault, message)
    hint = as_rows(loc, value) if isinstance(value, list) and value else as_adapter(loc, value)
    return place.error(f"'{name}' expects {expected}, got {words.got(value)}", hint=hint)


def spelled(loc: Path) -> str:
    """A key path as errors spell it, from its table on: `adapters[1].path`."""
    tables = {"model": 2, "defaults": 1, "project": 1, "vars": 1, "tools": 1, "cache": 1, "group": 1, "ftype": 2}
    skip = tables.get(str(loc[0]), 0) if loc else 0
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
        case ("tools", _):
            return keys(Tools)
        case ("cache", _):
            return keys(Cache)
        case (*_, "imatrix" | "gate" as key, _):
            return keys(Gate if key == "gate" else Calibration)
        case ("ftype", _, _):
            return keys(Ftype)
        case ("model", _, _):
            return keys(Model)
        case (*_, "adapters", int(), _):
            return keys(Adapter)
        case (*_, "messages", int(), _):
            return keys(Message)
        case (*_, "export", int(), _):
            return keys(Export)
        case (*_, "push", int(), _):
            return keys(Push)
    return keys(FileText)


def _elsewhere(loc: Path) -> str | None:
    """A hint for a key that is right, in another table."""
    key = str(loc[-1])
    if len(loc) == 2 and loc[0] == "defaults" and key in keys(Model):
        return f"'{key}' belongs to a model: [model.NAME], or [model.\"*\"] for all of them"
    if len(loc) == 3 and loc[0] == "model" and key in PARAMETERS:
        return f"put parameters in their own table: parameters = {{ {key} = … }}"
    if len(loc) == 1 and key in keys(Project):
        return f"'{key}' belongs in [project]"
    return f"models belong in [model.NAME]: [model.{key}]" if len(loc) == 1 and WORD.fullmatch(key) else None
