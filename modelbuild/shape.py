"""What a value of a ModelBuild.toml may be: for pydantic-core to check, and as JSON Schema says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Json = Mapping[str, Any]

_TAGS = {str: "\0string", bool: "\0bool", int: "\0number", float: "\0number", list: "\0list", dict: "\0table"}
_TAG_OF = {"str": "\0string", "literal": "\0string", "bool": "\0bool", "float": "\0number", "list": "\0list"}


class Shape(NamedTuple):
    """core  a schema of pydantic-core's, of plain dictionaries; json  the same in JSON Schema, or what of it that can say."""

    core: Mapping[str, Any]
    json: Json

    def said(self, json: Json) -> Shape:
        """The same, said otherwise in JSON Schema."""
        return Shape(self.core, json)


class Field(NamedTuple):
    """A key of a table. A required one has no default; a default is None where it goes without saying."""

    shape: Shape
    description: str
    default: Any = None
    required: bool = False


class Table(NamedTuple):
    """A table with known keys, by the name that JSON Schema calls it."""

    name: str
    fields: Mapping[str, Field]

    @property
    def shape(self) -> Shape:
        fields = {
            key: {"type": "typed-dict-field", "schema": field.shape.core, "required": field.required}
            for key, field in self.fields.items()
        }
        core = {"type": "typed-dict", "fields": fields, "extra_behavior": "forbid", "strict": True}
        return Shape(core, {"$ref": f"#/$defs/{self.name}"})

    def described(self) -> dict[str, Any]:
        """The table itself in JSON Schema."""
        properties = {
            key: {
                **field.shape.json,
                "description": field.description,
                **({} if field.default is None else {"default": field.default}),
            }
            for key, field in self.fields.items()
        }
        required = [key for key, field in self.fields.items() if field.required]
        found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**found, "required": required} if required else found


STRING = Shape({"type": "str", "strict": True}, {"type": "string"})
NUMBER = Shape({"type": "float", "strict": True, "allow_inf_nan": False}, {"type": "number"})
BOOL = Shape({"type": "bool", "strict": True}, {"type": "boolean"})
EMPTY = Shape({"type": "literal", "expected": [""]}, {"const": ""})
ANY = Shape({"type": "any"}, {})


def listed(item: Shape) -> Shape:
    core = {"type": "list", "items_schema": item.core, "strict": True}
    return Shape(core, {"type": "array", "items": item.json})


def mapped(value: Shape) -> Shape:
    """A table with keys of any name."""
    core = {"type": "dict", "keys_schema": STRING.core, "values_schema": value.core, "strict": True}
    return Shape(core, {"type": "object", "additionalProperties": value.json})


def one_of(expected: str, *shapes: Shape) -> Shape:
    """A value of one of several types, told apart by it; an error of the type `expects` says what was expected."""
    core = {
        "type": "tagged-union",
        "choices": {_TAG_OF.get(shape.core["type"], "\0table"): shape.core for shape in shapes},
        "discriminator": _tag,
        "custom_error_type": "expects",
        "custom_error_message": expected,
    }
    return Shape(core, {"anyOf": [shape.json for shape in shapes]})


def _tag(value: Any) -> str | None:
    return _TAGS.get(type(value))


def without_tags(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where an error of pydantic-core's stands, without the types that were tried."""
    return tuple(part for part in loc if not (isinstance(part, str) and part.startswith("\0")))
