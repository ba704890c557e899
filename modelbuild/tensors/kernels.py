"""The code that packs on this machine: native kernels for one of the processor's instruction sets, or numpy."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any

from modelbuild.errors import Error

KNOWN = ("avx512", "avx2", "portable", "numpy")


@cache
def choose() -> tuple[Any, str]:
    """The native module and the instruction set to use, or None and 'numpy'. MODELBUILD_KERNELS forces one."""
    wanted = os.environ.get("MODELBUILD_KERNELS", "")
    if wanted and wanted not in KNOWN:
        raise Error(f"MODELBUILD_KERNELS: expected one of {', '.join(KNOWN)}, got '{wanted}'")
    if wanted == "numpy":
        return None, "numpy"
    try:
        native: Any = import_module("modelbuild.tensors.quants._native")
    except ImportError as error:
        if wanted:
            raise Error(
                f"MODELBUILD_KERNELS: '{wanted}' needs the native kernels, which are not built here",
                facts=[("import", str(error))],
                hint="install gcc or clang, then install modelbuild again",
            ) from None
        import warnings

        warnings.warn(
            "the native kernels of modelbuild are not built here: numpy quantizes in their place, to the same bytes, "
            "10 to 200 times slower; to get them, install gcc or clang, then install modelbuild again "
            "(MODELBUILD_KERNELS=numpy silences this)",
            RuntimeWarning,
            stacklevel=3,
        )
        return None, "numpy"
    usable = native.instruction_sets()
    if wanted and wanted not in usable:
        facts = [("usable", ", ".join((*usable, "numpy")))]
        raise Error(f"MODELBUILD_KERNELS: this processor does not have '{wanted}'", facts=facts)
    return native, wanted or usable[0]


@cache
def types(native: Any) -> frozenset[int]:
    """The ids of the ggml types that the native module packs and unpacks."""
    return frozenset(row[0] for row in native.formats())
