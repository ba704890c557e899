"""[cache]: the remote, its mode, and whom it is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.project.remote_cache import RemoteCache
from tests.projects import M, complaint, load, right, write

FILES = {"m/Modelfile": "FROM ../w\n", "w/": ""}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBGLEqCF0ppoK7ZOo57i0hGFYHrGSzV4jcqNvZ9bEPrk"


def test_all_keys_are_taken(tmp_path: Path) -> None:
    text = f'[vars]\nhost = "h"\n[cache]\nremote = "https://${{host}}/x"\nmode = "READ"\nforeign = true\nsign = "k"\ntrust = ["{KEY} me"]\n'
    found = load(tmp_path, text + M, FILES).cache
    assert found == RemoteCache("https://h/x", "read", True, str(tmp_path / "k"), (f"{KEY} me",))


def test_nobody_has_a_remote_that_names_none(tmp_path: Path) -> None:
    assert load(tmp_path, M, FILES).cache == RemoteCache()
    assert RemoteCache.recalled(*RemoteCache("u", trust=("a",))) == RemoteCache("u", trust=("a",))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('remote = "ftp://host"', "beginning with file://"),
        ('remote = "https://h"\nmode = "reed"', "did you mean 'read'?"),
        ("trust = []", "trust names no key"),
        ('trust = ["ssh-rsa AAAA"]', "expected a public key 'ssh-ed25519 …'"),
        ("forein = true", "did you mean 'foreign'?"),
    ],
)
def test_what_is_wrong_is_said_at_its_line(tmp_path: Path, line: str, said: str) -> None:
    told = complaint(tmp_path, f"[cache]\n{line}\n{M}", FILES)
    assert said in told and "ModelBuild.toml:" in told


def test_a_part_has_no_remote_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, {"a/ModelBuild.toml": f'[cache]\nremote = "file:///x"\n{M}', "a/m/Modelfile": "FROM ./w\n"})
    told = complaint(tmp_path, f'[project]\ninclude = ["a/ModelBuild.toml"]\n{M}', FILES)
    assert "[cache] has no effect in a part" in told


def test_a_project_with_a_remote_is_right(tmp_path: Path) -> None:
    assert right(tmp_path, f'[cache]\nremote = "file:///x"\n{M}', FILES).cache.url == "file:///x"
