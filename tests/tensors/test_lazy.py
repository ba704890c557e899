"""A module that is imported late."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modelbuild.tensors.lazy import Lazy


def test_it_is_imported_when_something_of_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_load.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = Lazy("slow_to_load")
    assert "slow_to_load" not in sys.modules
    assert module.VALUE == 7
    assert "slow_to_load" in sys.modules
    with pytest.raises(AttributeError):
        _ = module.ANOTHER
    del sys.modules["slow_to_load"]


def test_no_operation_and_no_format_loads_numpy_before_it_computes() -> None:
    code = (
        "import sys; from modelbuild.tensors import operations, quants, quality; from modelbuild.tensors.formats import imatrix\n"
        "print([operations.get(name) for name in operations.names()] and [quants.get(name) for name in quants.names()] and "
        "'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
