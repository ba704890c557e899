"""The front matter of a model card: YAML in bounded time and memory."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

NODES_LIMIT = 100_000
"""Values and keys, those taken in by `<<` counted each time. The largest real cards, full of benchmark results, have some 20 thousand."""
DIGITS_LIMIT = 4000
"""Characters of a number."""


class Refused(yaml.MarkedYAMLError):  # type: ignore[misc, no-any-unimported, unused-ignore]
    """More than is read of a card."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class Loader(yaml.SafeLoader):  # type: ignore[misc, no-any-unimported, unused-ignore]
    """A safe loader that stops at what would grow without end."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0

    def _count(self, nodes: int, node: Any) -> None:
        self._nodes += nodes
        if self._nodes > NODES_LIMIT:
            raise Refused(f"it has more than {NODES_LIMIT:,} values", node.start_mark)

    def compose_node(self, parent: Any, index: Any) -> Any:
        node = super().compose_node(parent, index)
        self._count(1, node)
        return node

    def flatten_mapping(self, node: Any) -> None:
        """Take in what `<<` names, each of which may name others: what that comes to is counted before."""
        for key, value in [pair for pair in node.value if pair[0].tag == "tag:yaml.org,2002:merge"]:
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(other, yaml.MappingNode) and other is not node:
                    self.flatten_mapping(other)
                    self._count(1 + len(other.value), key)
        super().flatten_mapping(node)

    def construct_yaml_int(self, node: Any) -> Any:
        self._short(node)
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        self._short(node)
        return super().construct_yaml_float(node)

    @staticmethod
    def _short(node: Any) -> None:
        # `1:30:00` is a number to the base of sixty: a long one takes as long as its square, and none can be printed.
        if len(node.value) > DIGITS_LIMIT:
            raise Refused(f"a number has {len(node.value):,} characters", node.start_mark)


Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_yaml_float)


def load(text: str) -> Any:
    """What the text says. Raises Refused, or yaml.YAMLError, for what it cannot say, and RecursionError where it is too deep."""
    loader = Loader(text)
    try:
        return loader.get_single_data()
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        # What PyYAML's constructors run into: `!!bool x` is a KeyError, `!!timestamp x` an AttributeError.
        raise Refused(f"a value is not of its type: {str(error)[:200]}", None) from None
    finally:
        loader.dispose()
