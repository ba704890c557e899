from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from modelbuild.errors import Error
from modelbuild.registry import docker_config
from modelbuild.registry.docker_config import Credentials, credentials
from tests.registry.models import check_golden

AUTH = base64.b64encode(b"ann:pass:word").decode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return tmp_path


def write(folder: Path, config: Any) -> None:
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def told(secret: str, user: str = "ann") -> str:
    return f"""echo '{json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})}'"""


def test_without_a_file_there_are_none(folder: Path) -> None:
    assert credentials("r.example.com") is None


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("r.example.com", "r.example.com"),
        ("https://r.example.com", "r.example.com"),
        ("https://r.example.com/v1/", "r.example.com"),
        ("R.example.com:5000", "r.example.com:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
    ],
)
def test_what_docker_login_writes(folder: Path, key: str, host: str) -> None:
    write(folder, {"auths": {"other.example.com": {"auth": "eDp5"}, key: {"auth": AUTH}}})
    assert credentials(host) == Credentials("ann", "pass:word")
    assert credentials("r.example.com.evil.net") is None


@pytest.mark.parametrize("host", ["r.example.com:443", "example.com", "sub.r.example.com", "r.example.com:5000"])
def test_a_login_is_for_its_own_host_alone(folder: Path, host: str) -> None:
    write(folder, {"auths": {"r.example.com": {"auth": AUTH}}})
    assert credentials(host) is None


def test_other_forms(folder: Path) -> None:
    write(
        folder, {"auths": {"a": {"username": "u", "password": "p"}, "b": {"auth": AUTH, "identitytoken": "t"}, "c": {}}}
    )
    assert credentials("a") == Credentials("u", "p")
    assert credentials("b") == Credentials("ann", "pass:word", "t")
    assert credentials("c") is None


def test_a_store_is_asked_for_every_host(folder: Path) -> None:
    write(folder, {"credsStore": "test", "auths": {"a": {}, "other": {"auth": AUTH}}})
    helper(
        folder,
        "test",
        f'read server; [ "$1 $server" = "get a" ] || {{ echo credentials not found; exit 1; }}; {told("s")}',
    )
    assert credentials("a") == Credentials("ann", "s")
    assert credentials("other") == Credentials("ann", "pass:word")
    assert credentials("b") is None


def test_a_helper_of_one_host_comes_before_the_store(folder: Path) -> None:
    write(folder, {"credsStore": "missing", "credHelpers": {"a": "test"}})
    helper(folder, "test", told("t", "<token>"))
    assert credentials("a") == Credentials("<token>", "", "t")


@pytest.mark.parametrize(
    ("case", "script"),
    [
        ("helper-fails", "echo the secret is hunter2 >&2; exit 3"),
        ("helper-odd", "echo hunter2"),
        ("helper-list", "echo '[]'"),
    ],
)
def test_a_helper_that_fails_is_an_error_without_its_words(folder: Path, case: str, script: str) -> None:
    write(folder, {"credsStore": "test"})
    helper(folder, "test", script)
    with pytest.raises(Error) as failed:
        credentials("a")
    assert "hunter2" not in str(failed.value)
    check_golden(case, failed.value, "HOST", folder)


def test_a_helper_that_does_not_answer_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_config, "PATIENCE", 0.05)
    write(folder, {"credsStore": "test"})
    helper(folder, "test", "exec sleep 100")
    with pytest.raises(Error, match="does not answer"):
        credentials("a")


@pytest.mark.parametrize(
    ("case", "config"),
    [
        ("config-text", "{"),
        ("config-deep", "[" * 100_000),
        ("config-list", "[]"),
        ("config-auth", {"auths": {"a": {"auth": "hunter2!"}}}),
        ("config-no-colon", {"auths": {"a": {"auth": "aHVudGVyMg=="}}}),
        ("config-types", {"auths": {"a": {"username": 1, "password": "hunter2"}}}),
        ("config-helper-missing", {"credsStore": "no-such-helper"}),
        ("config-helper-path", {"credHelpers": {"a": "../../bin/sh"}}),
        ("config-helper-type", {"credsStore": 5}),
    ],
)
def test_a_config_that_is_wrong(folder: Path, case: str, config: Any) -> None:
    write(folder, config)
    with pytest.raises(Error) as wrong:
        credentials("a")
    assert "hunter2" not in str(wrong.value)
    check_golden(case, wrong.value, "HOST", folder)


@pytest.mark.parametrize("config", [{"auths": []}, {"auths": {"a": 5}}, {"credHelpers": 5, "auths": None}])
def test_a_config_with_other_things_says_nothing(folder: Path, config: Any) -> None:
    write(folder, config)
    assert credentials("a") is None


def test_nothing_shows_a_secret() -> None:
    secret = Credentials("ann", "hunter2", "token7")
    assert "hunter2" not in f"{secret!r}{secret}" and "token7" not in f"{secret!r}{secret}"
    assert secret.basic == "Basic " + base64.b64encode(b"ann:hunter2").decode()
