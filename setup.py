"""The native kernels, and the stats of many files: optional extensions for the stable ABI.

Without a C compiler the install goes through: numpy and Python do their work.
"""

import sysconfig
from glob import glob
from typing import Any

from setuptools import Extension, setup

FOLDER = "modelbuild/tensors/quants/native"

# No -march and no contraction to fused operations: the bytes must not depend on the machine. Errno would keep sqrtf a call.
FLAGS = ["-std=gnu11", "-O3", "-fno-fast-math", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]

# Free-threaded interpreters have no stable ABI.
limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
ABI: dict[str, Any] = {
    "define_macros": [("Py_LIMITED_API", "0x030B0000")] if limited else [],
    "extra_compile_args": FLAGS,
    "py_limited_api": limited,
    "optional": True,
}

setup(
    ext_modules=[
        Extension(
            "modelbuild.tensors.quants._native",
            sources=[f"{FOLDER}/{name}.c" for name in ("module", "avx512", "avx2", "portable")],
            depends=[*glob(f"{FOLDER}/*.h"), "setup.py"],
            **ABI,
        ),
        Extension("modelbuild._stats", sources=["modelbuild/_stats.c"], depends=["setup.py"], **ABI),
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {},
)
