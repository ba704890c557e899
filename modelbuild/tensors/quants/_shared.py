"""What the formats share, imported when something is first packed: their sizes are asked for without numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelbuild.tensors.lazy import Lazy

if TYPE_CHECKING:
    from modelbuild.tensors.quants import _numpy, _searches, _superblocks

    n, searches, superblocks = _numpy, _searches, _superblocks
else:
    n = Lazy("modelbuild.tensors.quants._numpy")
    searches = Lazy("modelbuild.tensors.quants._searches")
    superblocks = Lazy("modelbuild.tensors.quants._superblocks")
