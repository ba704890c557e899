"""Kinds of arguments: what they take, what they refuse, what a shell offers for them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest

from modelbuild.cli.arguments import common
from modelbuild.cli.kinds import Age, Count, Ftype, Pair, Revision, Size, Target, names, offered, targets
from tests import checkpoints


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("0", 0), ("512M", 512_000_000), ("1.5G", 1_500_000_000), ("64 MiB", 64 << 20), ("7kb", 7000), ("2ki", 2048)],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert Size()(text) == bytes_


@pytest.mark.parametrize("text", ["", "-1", "1.M", "1P", "M", "1e6", "1 000"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a size such as 512M or 2GiB"):
        Size()(text)


def test_counts() -> None:
    assert Count()("12") == 12
    for text in ("0", "-1", "1.5", "²", "many"):
        with pytest.raises(click.BadParameter, match="expected a number of at least 1"):
            Count()(text)


def test_pairs_are_split_at_the_first_sign() -> None:
    assert Pair()("a=b=c") == ("a", "b=c")
    assert Pair()("a=") == ("a", "")
    for text in ("a", "=b", ""):
        with pytest.raises(click.BadParameter, match="expected NAME=VALUE"):
            Pair()(text)


def context(tmp_path: Path, *words: str) -> click.Context:
    command = click.Command("build", params=[targets(), *common(hidden=True)])
    return command.make_context("build", ["-C", str(tmp_path), *words])


def test_no_word_is_offered_that_a_shell_would_read(tmp_path: Path) -> None:
    (tmp_path / "ModelBuild.toml").write_text(
        '[model."$(touch x)"]\n[model."a b"]\n[model."-rf"]\n[model."x\\ny"]\n[model."a;b"]\n[model.good-1]\n'
    )
    found = Target().shell_complete(context(tmp_path), targets(), "")
    assert [item.value for item in found] == ["good-1", "good-1:latest"]


def test_ftypes_are_offered_in_any_case(tmp_path: Path) -> None:
    found = [item.value for item in Ftype().shell_complete(context(tmp_path), targets(), "Q4_K_")]
    assert found == ["q4_K_S", "q4_K_M"]


def test_targets_of_the_project_are_offered_and_faults_stay_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ctx = context(tmp_path, "--cache", str(tmp_path / "cache"))
    assert offered(ctx) == []
    (tmp_path / "ModelBuild.toml").write_text('[model.chat]\nfrom = "./weights"\n[group]\nall = ["chat"]\n')
    checkpoints.write(tmp_path / "weights")
    assert offered(ctx) == ["all", "chat", "chat:latest"]
    assert [item.value for item in Target().shell_complete(ctx, targets(), "chat:")] == ["chat:latest"]
    (tmp_path / "ModelBuild.toml").write_text("[model\n[model.chat]")
    assert offered(ctx) == ["chat"]
    assert names(ctx, "group") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2592000), ("12h", 43200), ("1.5h", 5400), ("90m", 5400), ("2w", 1209600), ("0s", 0)]
)
def test_ages(text: str, seconds: float) -> None:
    assert Age()(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "30", "30 days", "-1d", "1e9d", "9" * 40 + "d", "٣d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a time such as 30d"):
        Age()(text)


def test_branches_and_tags_of_git_are_offered(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["commit", "-qm", "x", "--allow-empty"],
        ["tag", "v1"],
        ["branch", "more"],
    ):
        subprocess.run([*git, *words], check=True)
    ctx = context(tmp_path)
    assert [item.value for item in Revision().shell_complete(ctx, targets(), "")] == ["main", "more", "v1"]
    assert [item.value for item in Revision().shell_complete(ctx, targets(), "m")] == ["main", "more"]
