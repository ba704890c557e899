from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.errors import Error
from modelbuild.interrupt import Stop
from modelbuild.registry import machine
from modelbuild.registry.origin import Origin
from modelbuild.registry.patience import Patience
from modelbuild.registry.pools import Pools
from tests.registry import certificates


def test_hosts_share_a_pool_that_are_reached_and_trusted_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = certificates.make(tmp_path)
    private = Origin("https", "private.io", 443)
    monkeypatch.setattr(machine, "roots", lambda origin: (str(file),) if origin == private else ())
    pools = Pools((), Patience(), Stop())
    public = [pools.of(Origin("https", host, 443), None) for host in ("a.io", "b.io")]
    assert public[0] is public[1]
    others = [pools.of(private, None), *(pools.of(Origin("http", host, 80), None) for host in ("a.io", "private.io"))]
    assert others[0] is not public[0] and others[1] is others[2] is not public[0]
    pools.close()


def test_a_file_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot be read"):
        Pools((str(tmp_path / "none.pem"),), Patience(), Stop())
