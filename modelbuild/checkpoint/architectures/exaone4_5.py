"""EXAONE 4.5: the model of text of one that sees, an EXAONE 4 that may have blocks for the prediction of several tokens."""

from __future__ import annotations

from modelbuild.checkpoint.architectures import _mtp
from modelbuild.checkpoint.architectures.exaone4 import Exaone4
from modelbuild.checkpoint.metadata import Values


class Exaone45(_mtp.Idle, Exaone4):
    """(llama.cpp conversion/exaone.py, Exaone4_5_TextModel)"""

    CLASSES = ("Exaone4_5_ForConditionalGeneration",)
    MODEL_TYPE = ""
    DEFAULTS = {}
    NAMES = {**Exaone4.NAMES, **_mtp.NAMES}

    def parameters(self, file_type: int) -> Values:
        return self.with_further(super().parameters(file_type))
