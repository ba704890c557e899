"""Models that are wanted as checkpoints too, before quantization: the steps that restore them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from modelbuild import shapes
from modelbuild.engine.graph import Source
from modelbuild.plan.declared import Declared
from modelbuild.plan.layers import Base
from modelbuild.plan.weights import CheckpointFolder
from modelbuild.project.variant import Variant


class Restored:
    """Declares these steps, in projects where some model is wanted so.

    wanted  what shapes that are not declared want of every model, as `shapes.wants` says
    """

    def __init__(self, variants: Iterable[Variant], declared: Declared, wanted: str | None) -> None:
        self._declared = declared
        self._all = wanted == shapes.CHECKPOINT
        self._some = self._all or any(_is_checkpoint(to.shape) for each in variants for to in each.exports)

    def gathered(self, variant: Variant, folder: CheckpointFolder) -> str | None:
        """The step that takes a checkpoint as it is; None where no model is wanted as one."""
        if not self._some:
            return None
        from modelbuild.checkpoint.shards import BESIDE
        from modelbuild.steps import gather

        beside = [(name, Source(os.path.join(folder.path, name), "bytes")) for name in BESIDE]
        return self._declared.step(variant, gather, gather.Parameters(), [*folder.files, *beside])

    def packed(self, variant: Variant, base: Base) -> tuple[str, ...]:
        """The steps of a variant's checkpoint, where one is wanted: that of its file, and that of its recipe. Raises Error."""
        wanted = next((each for each in variant.exports if _is_checkpoint(each.shape)), None)
        if base.restored is None and wanted is not None:
            what = f"'{variant.label}' is not made from a folder of safetensors, and has no weights before quantization"
            raise wanted.folder.place.error(what, hint="name such a folder in FROM, or another shape", value=False)
        if base.restored is None or not (wanted or self._all):
            return ()
        from modelbuild.steps import pack
        from modelbuild.tensors import operations

        values = pack.Parameters(operations=operations.versions() or None)
        return (self._declared.step(variant, pack, values, [("checkpoint", base.restored)]), base.restored)


def _is_checkpoint(shape: str) -> bool:
    return shapes.wants(shape) == shapes.CHECKPOINT
