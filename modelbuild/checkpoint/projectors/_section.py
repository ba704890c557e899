"""What config.json says of a tower, and the metadata that is made of it."""

from __future__ import annotations

import math
from typing import Any

from modelbuild.checkpoint.config import Config
from modelbuild.checkpoint.hyperparameters import BLOCKS_LIMIT
from modelbuild.checkpoint.metadata import Values
from modelbuild.errors import Error
from modelbuild.tensors.formats.gguf import encode_value
from modelbuild.words import in_json

BLOCKS = ("n_layers", "num_hidden_layers", "n_layer", "num_layers", "depth", "layers", "encoder_layers")
"""Where the number of blocks may be said, the first that is there (MmprojModel.n_block_keys)."""

LIMIT = 1 << 20
"""No real width, height or number of heads is as large."""


class Section:
    """Values of config.json, or of one object in it: `name` is `vision_config`, or "" for the whole."""

    def __init__(self, name: str, values: Config) -> None:
        self.name = name
        self.values = values

    @staticmethod
    def of(config: Config, name: str, defaults: Config) -> Section:
        """An object of config.json, and what counts where it lacks a key. Raises Error for any other value."""
        found = config.get(name)
        if found is None and defaults:
            found = {}
        if not isinstance(found, dict):
            got = f"got {in_json(found)}" if name in config else "which is missing"
            raise Error(f"'{name}' expects an object, {got}", path="config.json")
        return Section(name, {**defaults, **found})

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def error(self, key: str, expected: str, got: Any = None) -> Error:
        shown = f"got {in_json(got)}" if got is not None or key in self.values else "which is missing"
        return Error(f"'{self.name}{'.' if self.name else ''}{key}' expects {expected}, {shown}", path="config.json")

    def count(self, *keys: str) -> int:
        """A whole number of at least 1, under the first key that is there."""
        key = next((key for key in keys if key in self.values), keys[0])
        value = self.values.get(key)
        if type(value) is not int or not 0 < value < LIMIT:
            raise self.error(key, f"a whole number from 1 to {LIMIT - 1:,}", value)
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number above 0."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self.error(key, "a number above 0", value)
        return value

    def blocks(self, *keys: str) -> int:
        """How many blocks the tower has."""
        value = self.count(*keys)
        if value > BLOCKS_LIMIT:
            key = next(key for key in keys if key in self.values)
            raise self.error(key, f"at most {BLOCKS_LIMIT} blocks", value)
        return value


class Writer:
    """Metadata `clip.…` of a file; `values` is what has been written, in its order."""

    def __init__(self) -> None:
        self.values: Values = {}

    def put(self, key: str, value_type: str, value: Any) -> None:
        self.values[f"clip.{key}"] = encode_value(value_type, value)

    def colours(self, key: str, images: Config, name: str) -> None:
        """Write three numbers of the preprocessor's, one for each colour. Raises Error where they are not there."""
        value = images.get(name)
        path = "preprocessor_config.json"
        if name not in images:
            raise Error(
                f"'{name}' is missing: it says how images are prepared",
                path=path,
                hint="take preprocessor_config.json from the model that this one was trained from",
            )
        if not isinstance(value, list) or len(value) != 3 or not all(map(_is_finite, value)):
            raise Error(f"'{name}' expects three numbers, got {in_json(value)}", path=path)
        # Whole numbers without a point would be written as such, and the runtime reads floats.
        self.put(key, "[f32]", [float(each) for each in value])


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
