"""How forecasts of models are printed."""

from __future__ import annotations

from collections.abc import Sequence

from modelbuild.session.forecast import Forecast
from modelbuild.words import size, table


def lines(forecasts: Sequence[Forecast], verbose: bool) -> list[str]:
    """A table of models; or, with every tensor's type, one for each model."""
    forecasts = [forecast for forecast in forecasts if forecast.tensors]
    if not verbose:
        rows = [[f.name, size(f.size or 0), f.counts()] for f in forecasts]
        return [table(["NAME", "MODEL SIZE", "TENSORS"], rows, right=[1])] if rows else []
    found = []
    for each in forecasts:
        found.append(f"{each.name}  {size(each.size or 0)}")
        rows = [[name, dtype, " × ".join(map(str, shape))] for name, dtype, shape in each.tensors]
        found.append("\n".join("  " + line for line in table(["TENSOR", "TYPE", "SHAPE"], rows).split("\n")))
    return found
