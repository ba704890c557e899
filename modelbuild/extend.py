"""What other packages may import; docs/extending.md shows how.

The class of every architecture that modelbuild reads is here, too, to be derived from: `from modelbuild.extend import Llama`.
"""

from __future__ import annotations

from typing import Any

from modelbuild.checkpoint.architectures import Architecture as Architecture
from modelbuild.checkpoint.architectures import known as _known
from modelbuild.checkpoint.checkpoint import Checkpoint as Checkpoint
from modelbuild.checkpoint.config import Config as Config
from modelbuild.checkpoint.hyperparameters import Writer as Writer
from modelbuild.checkpoint.metadata import Values as Values
from modelbuild.errors import Error as Error
from modelbuild.tensors.formats.gguf import encode_value as encode_value
from modelbuild.tensors.operations.add_one import add_one as add_one
from modelbuild.tensors.operations.cast import cast as cast
from modelbuild.tensors.operations.concat import concat as concat
from modelbuild.tensors.operations.mxfp4 import mxfp4 as mxfp4
from modelbuild.tensors.operations.neg_exp import neg_exp as neg_exp
from modelbuild.tensors.operations.permute import permute as permute
from modelbuild.tensors.operations.reshape import reshape as reshape
from modelbuild.tensors.operations.scale import scale as scale
from modelbuild.tensors.operations.slice import slice_ as slice_
from modelbuild.tensors.operations.stack import stack as stack
from modelbuild.tensors.operations.take import Run as Run
from modelbuild.tensors.operations.take import take as take
from modelbuild.tensors.operations.transpose import transpose as transpose
from modelbuild.tensors.recipe import Expression as Expression


def __getattr__(name: str) -> Any:
    for architecture in _known():
        if architecture.__name__ == name:
            return architecture
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *(architecture.__name__ for architecture in _known())})
