"""How the command line is read: options, the default command, the two meanings of -q, usage errors, help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelbuild.cli import main
from modelbuild.cli.arguments import common
from modelbuild.cli.invocation import Invocation
from modelbuild.session.settings import Settings


class Seen:
    """What a command was called with."""

    def __init__(self) -> None:
        self.command = ""
        self.settings = Settings()
        self.call: Invocation
        self.values: dict[str, Any] = {}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Replaces what `build` and `list` do by writing down their call."""
    from modelbuild.cli.commands import build, list

    found = Seen()

    def recorder(name: str) -> Any:
        def run(call: Invocation, **values: Any) -> int:
            found.command, found.call, found.settings, found.values = name, call, call.settings, values
            return 0

        return run

    monkeypatch.setattr(build, "run", recorder("build"))
    monkeypatch.setattr(list, "run", recorder("list"))
    return found


def test_without_arguments_it_builds(seen: Seen) -> None:
    assert main.main([]) == 0
    assert (seen.command, seen.settings, seen.values["targets"]) == ("build", Settings(), ())


def test_words_alone_are_targets(seen: Seen) -> None:
    assert main.main(["chat", "persona-*"]) == 0
    assert (seen.command, seen.values["targets"]) == ("build", ("chat", "persona-*"))


def test_a_command_wins_over_a_target_of_its_name(seen: Seen) -> None:
    assert main.main(["list"]) == 0
    assert seen.command == "list"
    assert main.main(["build", "list"]) == 0
    assert (seen.command, seen.values["targets"]) == ("build", ("list",))
    assert main.main(["-k", "--", "list"]) == 0
    assert (seen.command, seen.values["targets"]) == ("build", ("list",))


@pytest.mark.parametrize(
    "words", [["-j4", "-k", "chat"], ["-k", "-j", "4", "chat"], ["build", "chat", "-kj", "4"], ["chat", "-kj4"]]
)
def test_options_of_the_build_need_no_command(seen: Seen, words: list[str]) -> None:
    assert main.main(words) == 0
    assert seen.command == "build"
    assert (seen.values["jobs"], seen.values["keep_going"], seen.values["targets"]) == (4, True, ("chat",))


@pytest.mark.parametrize(
    "words",
    [
        ["-C", "there", "--models", "m", "--cache", "c", "--memory", "2GiB", "--var", "a=1", "--set", "x.y=2", "list"],
        ["list", "-C", "there", "--models=m", "--cache=c", "--memory=2GiB", "--var=a=1", "--set=x.y=2"],
        ["-C", "here", "--memory", "1G", "list", "-Cthere", "--models=m", "--cache=c", "--memory=2GiB"]
        + ["--var=a=1", "--set=x.y=2"],
    ],
)
def test_options_of_every_command_stand_before_or_behind_it(seen: Seen, words: list[str]) -> None:
    assert main.main(words) == 0
    assert seen.command == "list"
    assert seen.settings == Settings(
        folder="there", models="m", cache="c", memory=2 << 30, vars=(("a", "1"),), sets=("x.y=2",)
    )


def test_every_common_option_is_a_setting_or_says_how_to_print() -> None:
    names = [option.name for option in common(hidden=False)]
    settings = [name for name in Settings._fields if name != "wanted"]  # which an export sets
    assert sorted(map(str, names)) == sorted([*settings, "as_json", "quiet", "verbose", "color"])


def test_variables_before_and_behind_add_up(seen: Seen) -> None:
    assert main.main(["--var", "a=1", "--set", "p=q", "list", "--var", "b=x=y", "--set", "r=s"]) == 0
    assert seen.settings.vars == (("a", "1"), ("b", "x=y"))
    assert seen.settings.sets == ("p=q", "r=s")


@pytest.mark.parametrize(
    ("words", "quiet", "quantize", "targets"),
    [
        (["-q"], True, None, ()),
        (["-q", "chat"], True, None, ("chat",)),
        (["-q", "qwen2.5"], True, None, ("qwen2.5",)),
        (["-q", "q4_K_M", "chat"], False, "q4_K_M", ("chat",)),
        (["-qq8_0"], False, "q8_0", ()),
        (["-f", "Modelfile", "-t", "me", "-q", "Q4_K_M"], False, "Q4_K_M", ()),
        (["-f", "Modelfile", "-t", "me", "-q", "q4_k_n"], False, "q4_k_n", ()),
        (["-q", "-q", "f16"], True, "f16", ()),
        (["-q", "build", "-q", "mine", "chat"], True, "mine", ("chat",)),
        (["build", "--quiet", "-q", "mine"], True, "mine", ()),
        (["--quantize", "mine"], False, "mine", ()),
    ],
)
def test_q_before_an_ftype_or_behind_the_command_is_quantize_else_quiet(
    seen: Seen, words: list[str], quiet: bool, quantize: str | None, targets: tuple[str, ...]
) -> None:
    assert main.main(words) == 0
    assert (seen.call.report.quiet, seen.settings.quantize, seen.values["targets"]) == (quiet, quantize, targets)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512_000_000),
        ("1.5GB", 1_500_000_000),
        ("64 MiB", 64 << 20),
        ("16777216", 16 << 20),
        ("70000kb", 70_000_000),
        ("1TB", 10**12),
        ("1TiB", 1 << 40),
    ],
)
def test_memory_takes_sizes(seen: Seen, text: str, size: int) -> None:
    assert main.main(["--memory", text]) == 0
    assert seen.settings.memory == size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bogus"], "error: no such option '--bogus'"),
        (["build", "--forc"], "error: no such option '--forc'\n  hint  did you mean '--force'?"),
        (["--memory", "much"], "error: --memory: expected a size such as 512M or 2GiB, got 'much'"),
        (["--memory", "1K"], "error: --memory: expected at least 16MiB, got '1K'"),
        (["--nope"], "error: no such option '--nope'\n  hint  `modelbuild build --help` lists"),
        (["list", "--al"], "error: no such option '--al'\n  hint  `modelbuild list --help` lists"),
        (["gc", "--older"], "error: no such option '--older'\n  hint  did you mean '--older-than'?"),
        (
            ["check", "-q"],
            "error: option '-q' requires an argument\n  hint  -q TYPE is the type of a Modelfile or weights, such as q4_K_M; "
            "--quiet prints only errors",
        ),
        (["-j", "0"], "error: --jobs: expected a number of at least 1, got '0'"),
        (["-j", "many"], "error: --jobs: expected a number of at least 1, got 'many'"),
        (["--var", "x"], "error: --var: expected NAME=VALUE, got 'x'"),
        (["--color", "red"], "error: --color: 'red' is not one of 'auto', 'always', 'never'"),
        (
            ["--color", "alwys"],
            "error: --color: 'alwys' is not one of 'auto', 'always', 'never'\n  hint  did you mean 'always'?",
        ),
        (["list", "--name"], "error: option '--name' requires an argument"),
        (["-n", "--watch"], "error: --dry-run and --watch cannot be used together"),
        (["schema", "x"], "error: got unexpected extra argument (x)"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_so_in_our_own_words(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert "Traceback" not in err and "Usage" not in err


def test_the_help_names_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for command in Path(main.__file__).with_name("commands").glob("[a-z]*.py"):
        assert f"\n  {command.stem} " in out
    for option in ("-C DIR", "--json", "-q, --quiet", "-j, --jobs N", "--version"):
        assert option in out


@pytest.mark.parametrize(
    "command", [path.stem for path in sorted(Path(main.__file__).with_name("commands").glob("[a-z]*.py"))]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([command, "--help"]) == 0
    assert f"Usage: modelbuild {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("-o=x.gguf", "write -o x.gguf"),
        ("-q=q8_0", "write -q q8_0"),
        ("-C=a b", "write -C 'a b'"),
        ("-j=", "write -j ''"),
    ],
)
def test_a_short_option_takes_no_equals_sign(
    word: str, hint: str, seen: Seen, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["chat", word]) == 2
    assert capsys.readouterr().err == f"error: '{word}': a short option takes no '='\n  hint  {hint}\n"
    assert not seen.command


def test_a_command_that_is_typed_as_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--list"]) == 2
    assert "hint  did you mean the command 'list'?" in capsys.readouterr().err
