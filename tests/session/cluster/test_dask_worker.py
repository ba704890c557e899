"""What makes a worker of Dask one of ours. It runs in tests/e2e/test_cluster.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelbuild.errors import Error
from modelbuild.session.settings import Settings

if TYPE_CHECKING:
    from modelbuild.session.cluster import dask_worker
else:
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    from modelbuild.session.cluster import dask_worker


def test_the_shared_cache_is_named_by_an_option_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(cache=str(tmp_path / "cache"), memory=1 << 20)
    monkeypatch.delenv(dask_worker.REMOTE, raising=False)
    with pytest.raises(Error, match="a worker needs a shared cache"):
        dask_worker.means(settings, None)
    monkeypatch.setenv(dask_worker.REMOTE, "file:///one")
    assert dask_worker.means(settings, None).remote == "file:///one"
    means = dask_worker.means(settings, "file:///other")
    assert means.remote == "file:///other" and means.cache == str(tmp_path / "cache")
    offered = dask_worker.tokens(means)
    assert offered["memory"] == 1 << 20 and offered["disk"] > 0
