"""Whether an adapter's values change anything, and are numbers."""

from __future__ import annotations

from collections.abc import Callable

from modelbuild.checkpoint.adapters.adapter import Adapter
from modelbuild.errors import Error
from modelbuild.tensors import packing
from modelbuild.tensors.lazy import np
from modelbuild.tensors.operations.cast import cast
from modelbuild.tensors.recipe import Expression
from modelbuild.words import shown

Values = Callable[[Expression], bytes]
"""The bytes of a small tensor."""


def check(adapter: Adapter, values: Values, *, allow_zero: bool) -> None:
    """Raise Error where a factor is not finite, and where all products are zero."""
    changes = bool(adapter.whole.keys() - adapter.copies or adapter.rows)
    factors = [(x, pair.files) for pair in adapter.pairs.values() for x in (pair.a, pair.b, pair.magnitude) if x]
    factors += [(x, part.files) for part in adapter.fused for x in (part.a, part.b)]
    factors += [(x, (name,)) for name, (x, _) in adapter.biases.items()]
    zero: set[Expression] = set()
    for x, files in factors:
        data = values(cast("f32", x))
        if (bad := packing.first_nonfinite("f32", data)) >= 0:
            raise Error(
                f"the adapter contains a value that is not finite (NaN or infinity), in '{shown(_name(x, files[0]))}'",
                facts=[("at", f"value {bad:,} of {len(data) // 4:,}")],
                hint="the training failed, or the file is damaged: train the adapter again, or get it again",
            )
        if not np.frombuffer(data, "<f4").any():
            zero.add(x)
    changes |= any(not {pair.a, pair.b} & zero or pair.magnitude is not None for pair in adapter.pairs.values())
    changes |= any(not {part.a, part.b} & zero for part in adapter.fused)
    changes |= any(x not in zero for x, _ in adapter.biases.values())
    if not changes and not allow_zero:
        raise Error(
            "the adapter changes nothing: in each pair one factor is zero everywhere",
            hint="it was saved before it was trained; train it, or say allow_zero = true for it",
        )


def _name(x: Expression, other: str) -> str:
    """What the file calls a tensor."""
    return next((leaf.label for leaf in x.leaves() if leaf.label), other)
