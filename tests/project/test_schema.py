"""The shape of a ModelBuild.toml as editors read it: the JSON Schema."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from modelbuild.project import schema
from modelbuild.project.keys import KEYS
from modelbuild.tensors import ftypes
from tests.project.test_document import DESIGN


def test_each_key_has_a_description() -> None:
    for table in (schema.Model, schema.Project, schema.Document, schema.Adapter, schema.Message, schema.Ftype):
        for name, each in table.model_fields.items():
            assert each.description, name


def test_json_schema_is_json_and_closed() -> None:
    described = schema.json_schema()
    json.dumps(described)
    assert described["additionalProperties"] is False
    model = described["$defs"]["Model"]
    assert model["additionalProperties"] is False
    assert set(model["properties"]) == set(KEYS)
    assert all("description" in each for each in model["properties"].values())
    quantize = json.dumps(model["properties"]["quantize"])
    assert all(name in quantize for name in ftypes.KNOWN)
    parameters = model["properties"]["parameters"]
    assert parameters["properties"]["num_ctx"]["type"] == ["integer", "string"]


def validate(schema_node: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """As much of JSON Schema as pydantic writes for us."""
    if "$ref" in schema_node:
        return validate(root["$defs"][schema_node["$ref"].rpartition("/")[2]], value, root)
    if options := schema_node.get("anyOf") or schema_node.get("oneOf"):
        return any(validate(option, value, root) for option in options)
    if "enum" in schema_node:
        return value in schema_node["enum"]
    if "const" in schema_node:
        return bool(value == schema_node["const"])
    kinds = {"string": str, "boolean": bool, "array": list, "object": dict, "integer": int, "number": (int, float)}
    wanted = schema_node.get("type", [])
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if wanted and not any(isinstance(value, kinds[kind]) for kind in wanted):
        return False
    if isinstance(value, dict):
        properties = schema_node.get("properties", {})
        others = schema_node.get("additionalProperties", True)
        if not set(schema_node.get("required", ())) <= set(value):
            return False
        for key, item in value.items():
            inner = properties.get(key, others)
            if inner is False or (isinstance(inner, dict) and not validate(inner, item, root)):
                return False
    if isinstance(value, list) and isinstance(schema_node.get("items"), dict):
        return all(validate(schema_node["items"], item, root) for item in value)
    return True


def test_json_schema_takes_the_designs_example_and_refuses_a_misspelling() -> None:
    described = schema.json_schema()
    assert validate(described, tomllib.loads(DESIGN), described)
    assert not validate(described, tomllib.loads(DESIGN.replace("modelfile =", "modelfil =")), described)
    assert not validate(
        described, tomllib.loads(DESIGN.replace('"q4_K_M"\n\n', "5\n").replace("8192", "[]")), described
    )
