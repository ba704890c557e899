#!/bin/sh
# The kernel tests and a fuzz under AddressSanitizer and UndefinedBehaviorSanitizer, on a copy of its own. Exits non-zero on a finding.
# usage: sanitize.sh [SECONDS of fuzz]; PYTHON and CC name the interpreter (with pytest and numpy) and the compiler.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
python=${PYTHON:-python3}
cc=${CC:-gcc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/tests/tensors"
cp -R "$root/setup.py" "$root/pyproject.toml" "$root/LICENSE" "$root/modelbuild" "$work"
cp "$root/tests/__init__.py" "$work/tests"
cp -R "$root/tests/tensors/__init__.py" "$root/tests/tensors/quants" "$work/tests/tensors"
find "$work" -name '_native*' -delete
cd "$work"

flags='-g -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all'
CC=$cc CFLAGS=$flags LDFLAGS=$flags "$python" -W ignore setup.py -q build_ext --inplace
grep -q __asan_init modelbuild/tensors/quants/_native*.so

LD_PRELOAD="$("$cc" -print-file-name=libasan.so) $("$cc" -print-file-name=libubsan.so)"
# Python itself leaks by design; its own allocator would hide overruns in small blocks.
ASAN_OPTIONS=detect_leaks=0:halt_on_error=1
UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
PYTHONMALLOC=malloc
export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS PYTHONMALLOC
"$python" -m pytest -q --capture=no -p no:cacheprovider tests/tensors/quants/test_native.py tests/tensors/quants/test_casts.py tests/tensors/quants/test_dequantize.py
"$python" -m tests.tensors.quants.fuzz "${1:-20}"
