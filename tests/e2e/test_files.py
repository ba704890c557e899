"""The result in hand: paths instead of projects, `-o`, `output` and `export`."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e import in_process, warm
from tests.e2e.in_process import InProcess
from tests.e2e.project import old

TOML = """
[project]
models = "models"

[model.base]
from = "./weights"
output = "dist/${matrix.quantize}/base.gguf"
[model.base.matrix]
quantize = ["q8_0", "q4_K_M"]

[model.chat]
from = "base:q8_0"
output = "dist/"
system = '''
You are "quoted"
on lines. '''
template = "{{ .System }} {{ .Prompt }}"
parameters = { temperature = 0.25, stop = ["<end>", "User: "], num_ctx = 2048 }
messages = [{ role = "user", content = "hello" }, { role = "assistant", content = "hi\\nthere" }]
license = ["one", "two\\nlines"]
"""


class Hand(InProcess):
    """A folder without a project, with a checkpoint in it; commands run there as users run them."""

    def do(self, *words: str, code: int = 0, cwd: str = ".") -> str:
        """Run; returns stdout and stderr."""
        places = {"MODELBUILD_CACHE": str(self.cache), "OLLAMA_MODELS": str(self.models)}
        done = in_process.run(words, self.folder / cwd, together=True, **places)
        assert "Traceback" not in done.out and "internal error" not in done.out, done.out
        assert done.code == code, done.out
        return done.out

    def bytes(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def rest(self) -> list[str]:
        """What lies in the folder besides the checkpoint and the cache."""
        return sorted({path.name for path in self.folder.iterdir()} - {"weights", "cache"})


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    hand = Hand(tmp_path)
    for path in hand.checkpoint().iterdir():
        old(path)
    return hand


@pytest.fixture
def project(hand: Hand) -> Hand:
    hand.write("ModelBuild.toml", TOML)
    return hand


# Paths


@pytest.mark.parametrize("spelled", ["./weights", "weights", "weights/", "../{folder}/weights", "{whole}", "weights/."])
def test_a_checkpoint_is_a_project_of_one_model(hand: Hand, spelled: str) -> None:
    path = spelled.format(folder=hand.folder.name, whole=hand.folder / "weights")
    before = sorted(os.listdir(hand.folder / "weights"))
    assert "built      weights:latest" in hand.do(path, "-q", "q4_K_M")
    assert "nothing to do" in hand.do(path, "-q", "q4_K_M")
    assert sorted(os.listdir(hand.folder / "weights")) == before
    assert hand.rest() == ["models"]


def test_inside_a_checkpoint_no_path_is_needed(hand: Hand) -> None:
    assert "built      weights:latest" in hand.do("-q", "q4_K_M", cwd="weights")
    assert "weights:latest  weights  q8_0" in hand.do("-q", "q8_0", "list", cwd="weights").replace("    ", "  ")
    assert "built      mine:v1" in hand.do("-t", "mine:v1", cwd="weights")
    assert "built      weights:latest" in hand.do(".", cwd="weights")


def test_inside_a_checkpoint_of_a_project_only_options_of_one_model_mean_it(project: Hand) -> None:
    assert "chat:latest" in project.do(cwd="weights")
    text = project.do("-q", "q6_K", "-o", "out.gguf", cwd="weights")
    assert "written    out.gguf" in text
    assert "built      weights:latest" in project.do(".", cwd="weights")


def test_gguf_files_modelfiles_and_projects_are_paths_too(hand: Hand) -> None:
    hand.do("./weights", "-o", "Tiny.F16.gguf", "-q", "f16")
    assert "built      Tiny.F16:latest" in hand.do("Tiny.F16.gguf", "-q", "q8_0")
    hand.write("a b/chat.Modelfile", "FROM ../weights\nSYSTEM Hi.\n")
    assert "built      chat:latest" in hand.do("a b/chat.Modelfile")
    hand.write("inner/ModelBuild.toml", '[model.x]\nfrom = "../weights"\n')
    assert "built      x:latest" in hand.do("./inner")
    assert "no ModelBuild.toml" in hand.do(code=2)


def test_in_a_folder_of_ggufs_one_of_them_is_named(hand: Hand) -> None:
    hand.do("./weights", "-o", "files/my model.gguf")
    hand.write("files/a-mmproj.gguf", "GGUF")
    text = hand.do(code=2, cwd="files")
    assert "hint       `modelbuild './my model.gguf'` builds that file; `modelbuild init` writes" in text


def test_other_commands_take_a_path_as_well(hand: Hand) -> None:
    assert "weights:latest" in hand.do("list", "./weights")
    assert "nothing wrong" in hand.do("check", "./weights", "-q", "q4_K_M")
    assert "from         " in hand.do("show", "./weights")
    assert json.loads(hand.do("--json", "show", "./weights"))["path"] is None


def test_a_target_wins_over_a_path_of_its_name(project: Hand) -> None:
    (project.folder / "base").mkdir()
    (project.folder / "base/config.json").write_text("{}")
    assert "built      base:q8_0" in project.do("base:q8_0")
    assert "unchanged" in project.do("base:q8_0")
    project.do("base")
    text = project.do("weights", code=2)
    assert "is not a model, a variant or a group" in text
    assert "'weights' is a folder here: `modelbuild ./weights` builds that folder" in text
    assert "built      weights:latest" in project.do("./weights")


def test_the_name_of_a_folder_that_cannot_be_one_is_told_how_to_be_given(hand: Hand) -> None:
    (hand.folder / "weights").rename(hand.folder / "My Weights")
    text = hand.do("./My Weights", code=2)
    assert "'My Weights' would be the model's name, but is not a valid name" in text
    assert "-t names it: -t My-Weights" in text
    assert "built      mine:latest" in hand.do("./My Weights", "-t", "mine")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["./wieghts"], "no such file or folder\n  hint  did you mean './weights'?"),
        (["none.gguf"], "no such file or folder"),
        (["./weights", "./weights2"], "a path cannot be combined with targets"),
        (["./weights", "chat"], "a path cannot be combined with targets"),
        (["-f", "weights", "./weights"], "-f already names the project"),
        (["./weights/model.safetensors"], "is one file of a checkpoint\n  hint  name its folder: ./weights"),
        (["./notes.txt"], "is neither a GGUF file, a Modelfile nor a ModelBuild.toml"),
        (["./empty"], "is a folder without a ModelBuild.toml, a Modelfile, safetensors or GGUF files"),
        (["./weights", "-o", "-"], "-o expects the name of a file"),
        (["./weights", "-o", ""], "-o expects the name of a file"),
    ],
)
def test_a_path_that_means_nothing_says_so(hand: Hand, words: list[str], said: str) -> None:
    hand.write("notes.txt", "x")
    (hand.folder / "empty").mkdir()
    assert said in hand.do(*words, code=2)


# -o


def test_a_file_is_made_and_nothing_else(hand: Hand) -> None:
    assert "written    out.gguf" in hand.do("./weights", "-q", "q4_K_M", "-o", "out.gguf")
    assert hand.rest() == ["out.gguf"]
    assert "nothing to do" in hand.do("./weights", "-q", "q4_K_M", "-o", "out.gguf")
    hand.do("./weights", "-q", "q4_K_M")
    assert hand.bytes("out.gguf") == hand.blob("weights:latest", "model")


def test_a_file_that_is_gone_or_edited_is_made_again_and_the_cache_is_unharmed(hand: Hand) -> None:
    words = ["./weights", "-q", "q8_0", "-o", "out.gguf"]
    hand.do(*words)
    made = hand.bytes("out.gguf")
    with (hand.folder / "out.gguf").open("r+b") as file:
        file.write(b"GGUFxxxx")
    assert "0 steps run" in hand.do(*words)
    assert hand.bytes("out.gguf") == made
    (hand.folder / "out.gguf").unlink()
    hand.do(*words)
    assert hand.bytes("out.gguf") == made


def test_folders_are_made_and_get_a_file_of_the_models_name(hand: Hand) -> None:
    hand.do("./weights", "-o", "a/b/x.gguf")
    hand.do("./weights", "-q", "q8_0", "-t", "me/mine:q8", "-odist/")
    hand.do("./weights", "-o", "dist")
    assert (hand.folder / "a/b/x.gguf").is_file()
    assert sorted(os.listdir(hand.folder / "dist")) == ["mine-q8.gguf", "weights.gguf"]


def test_no_file_of_somebody_elses_is_lost(hand: Hand) -> None:
    hand.write("notes.gguf", "not a model")
    assert "already exists and is not a GGUF file" in hand.do("./weights", "-o", "notes.gguf", code=1)
    assert "is an input of this build" in hand.do("./weights", "-o", "weights/config.json", code=1)
    hand.do("./weights", "-o", "in.gguf")
    (hand.folder / "again.gguf").symlink_to("in.gguf")
    for out in ("in.gguf", "./in.gguf", "again.gguf"):
        assert "is an input of this build" in hand.do("in.gguf", "-q", "q8_0", "-o", out, code=1)
    assert "be inside a folder that belongs to Ollama or modelbuild" in hand.do(
        "./weights", "-o", "cache/x.gguf", code=1
    )
    assert "be inside a folder that belongs to Ollama or modelbuild" in hand.do(
        "./weights", "-o", "models/blobs/x.gguf", code=1
    )
    assert "is not a regular file" in hand.do("./weights", "-o", "/dev/null", code=1)
    assert hand.bytes("notes.gguf") == b"not a model"
    assert hand.rest() == ["again.gguf", "in.gguf", "notes.gguf"]


def test_what_a_folder_is_made_of_gets_no_output(hand: Hand) -> None:
    """The next build would find two models there."""
    hand.do("./weights", "-o", "ggufs/a.gguf")
    said = "ggufs/b.gguf: is in a folder of GGUF files that a model is built from: the next build would read it too"
    assert said in hand.do("./ggufs", "-q", "q4_0", "-o", "ggufs/b.gguf", code=1)
    assert said.replace("b.gguf", "ggufs.gguf") in hand.do("export", "./ggufs", "ggufs", code=1)
    hand.write("ModelBuild.toml", '[model.b]\nfrom = "./ggufs"\noutput = "ggufs/"\n')
    assert said in hand.do(code=1) and said in hand.do("check", code=1)
    assert os.listdir(hand.folder / "ggufs") == ["a.gguf"]
    hand.do("./ggufs/a.gguf", "-q", "q4_0", "-o", "ggufs/b.gguf")


def test_a_pipe_is_no_file(hand: Hand) -> None:
    done = warm.run(["./weights", "-o", "/dev/stdout"], hand.folder, together=True)
    assert done.code == 1 and "/dev/stdout: is not a regular file" in done.out
    os.mkfifo(hand.folder / "pipe.gguf")
    for words in (["-f", "pipe.gguf"], ["./pipe.gguf"], ["./weights", "-o", "pipe.gguf"]):
        text = hand.do(*words, code=1 if "-o" in words else 2)
        assert "pipe.gguf: is not a regular file" in text
    (hand.folder / "gone.gguf").symlink_to("nowhere")
    assert "gone.gguf: is a link to 'nowhere', which leads nowhere" in hand.do("gone.gguf", code=2)
    (hand.folder / "m").mkdir()
    for name in ("m/Modelfile", "m/ModelBuild.toml"):
        os.mkfifo(hand.folder / name)
        assert f"{name}: is not a regular file" in hand.do("-f", name, code=2)
    (hand.folder / "m/ModelBuild.toml").unlink()
    os.mkfifo(hand.folder / "m/x.gguf")
    text = hand.do("init", cwd="m", code=2)
    assert "x.gguf: left out: cannot be read: not a regular file" in text


def test_a_model_without_targets_that_is_broken_gets_no_file(hand: Hand) -> None:
    hand.write("chat/Modelfile", "FROM ./none\n")
    assert "no such file or folder: './none'" in hand.do("./chat", "-o", "x.gguf", code=2)
    assert "no such file or folder: './none'" in hand.do("-f", "chat/Modelfile", "-o", "x.gguf", code=2)


def test_an_empty_group_is_told_of(project: Hand) -> None:
    project.write("ModelBuild.toml", TOML + "[group]\nnone = []\n")
    said = "'none' matches no model"
    assert said in project.do("list", "none")
    for words in (["show", "none"], ["none", "-o", "x.gguf"], ["export", "none", "out"]):
        assert f"error: {said}\n  hint  the group is empty: list its members in [group]" in project.do(*words, code=2)


def test_a_link_is_followed_and_rights_are_the_users(hand: Hand) -> None:
    (hand.folder / "far").mkdir()
    (hand.folder / "out.gguf").symlink_to("far/real.gguf")
    before = os.umask(0o077)
    try:
        hand.do("./weights", "-o", "out.gguf")
    finally:
        os.umask(before)
    assert (hand.folder / "out.gguf").is_symlink()
    assert (hand.folder / "far/real.gguf").stat().st_mode & 0o777 == 0o600


def test_a_file_may_lie_in_the_checkpoint(hand: Hand) -> None:
    hand.do("-q", "q8_0", "-o", "out.gguf", cwd="weights")
    hand.do("-q", "q8_0", "-o", "out.gguf", cwd="weights")
    assert "nothing to do" in hand.do("-q", "q8_0", "-o", "out.gguf", cwd="weights")


def test_what_a_killed_build_left_goes_and_what_is_somebody_elses_stays(hand: Hand) -> None:
    (hand.folder / ".modelbuild-tmp-0123456789abcdef").write_text("left")
    (hand.folder / ".tmp-mine").write_text("mine")
    hand.do("./weights", "-o", "out.gguf")
    assert hand.rest() == [".tmp-mine", "out.gguf"]


def test_one_file_holds_one_model(project: Hand) -> None:
    text = project.do("base", "-o", "x.gguf", code=2)
    assert "a file contains one model, but 2 variants match" in text
    assert "modelbuild export base FOLDER" in text
    project.do("base:q4_K_M", "-o", "x.gguf")
    assert project.rest() == ["ModelBuild.toml", "x.gguf"]


def test_a_dry_run_writes_nothing(hand: Hand) -> None:
    text = hand.do("-n", "./weights", "-o", "out.gguf")
    assert "weights/model" in text and "write    out.gguf\n" in text
    assert hand.rest() == []


def test_a_dry_run_names_the_files_that_a_build_would_write(hand: Hand) -> None:
    hand.do("./weights", "-o", "out.gguf")
    assert hand.do("-n", "./weights", "-o", "out.gguf") == "nothing to rebuild or write\n"
    text = "write    other.gguf\nnothing to rebuild; 1 file to write\n"
    assert hand.do("-n", "./weights", "-o", "other.gguf") == text
    hand.write("weights/config.json", (hand.folder / "weights/config.json").read_text() + "\n")
    assert "maybe    out.gguf\n" in hand.do("-n", "./weights", "-o", "out.gguf")
    events = map(json.loads, hand.do("-n", "./weights", "-o", "new/out.gguf", "--json").splitlines())
    (file,) = (event for event in events if event["event"] == "file")
    assert (file["path"], file["state"]) == (str(hand.folder / "new/out.gguf"), "would-write")
    assert hand.rest() == ["out.gguf"]


def test_a_dry_run_names_the_outputs_too(project: Hand) -> None:
    project.do()
    (project.folder / "dist/chat.gguf").unlink()
    assert "write    dist/chat.gguf\n" in project.do("-n")


# output


def test_outputs_are_part_of_a_build(project: Hand) -> None:
    files = ["dist/chat.gguf", "dist/q4_K_M/base.gguf", "dist/q8_0/base.gguf"]
    text = project.do()
    assert all(f"written    {file}" in text for file in files)
    assert project.bytes("dist/q8_0/base.gguf") == project.bytes("dist/chat.gguf") == project.blob("base:q8_0", "model")
    assert "nothing to do" in project.do()
    assert "nothing to do" in project.do()
    (project.folder / "dist/chat.gguf").unlink()
    (project.folder / "dist/q8_0/base.gguf").write_bytes(b"GGUF")
    assert project.do("list").count("changed") == 2
    text = project.do()
    assert "written    dist/chat.gguf" in text and "written    dist/q8_0/base.gguf" in text and "q4_K_M" not in text
    assert project.bytes("dist/q8_0/base.gguf") == project.blob("base:q8_0", "model")


def test_clean_knows_outputs(project: Hand) -> None:
    project.do()
    project.write("ModelBuild.toml", TOML.replace("/base.gguf", "/b.gguf"))
    text = project.do()
    assert "no longer declared: 'dist/q4_K_M/base.gguf', 'dist/q8_0/base.gguf'" in text
    assert project.do("clean", "--stale", "-n").count("would remove  dist/") == 2
    assert project.do("clean", "--stale").count("removed  dist/") == 2
    (project.folder / "dist/chat.gguf").write_bytes(b"GGUF mine")
    assert project.do("clean").count("removed  dist/") == 2
    assert project.bytes("dist/chat.gguf") == b"GGUF mine"


def test_clearing_the_cache_forgets_no_output(project: Hand) -> None:
    project.do()
    project.do("clean", "--cache")
    project.write("ModelBuild.toml", TOML.replace('"q8_0"', '"q6_K"').replace(":q8_0", ":q6_K"))
    assert "written    dist/chat.gguf" in project.do()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("x.gguf", "'base:q8_0' and 'base:q4_K_M' would both be written to 'x.gguf'"),
        ("${matrix.quantize}.bin", "'output' expects a path that ends in '.gguf', or in '/' for a folder"),
        ("models/blobs/${matrix.quantize}.gguf", "cannot be inside a folder that belongs to Ollama or modelbuild"),
        ("cache/${matrix.quantize}.gguf", "cannot be inside a folder that belongs to Ollama or modelbuild"),
        ("weights/config.json/${matrix.quantize}.gguf", "is a file, expected a folder"),
        ("${matrix.quantize}-mine.gguf", "already exists and is not a GGUF file"),
    ],
)
def test_an_output_that_cannot_be(project: Hand, output: str, said: str) -> None:
    project.write("q8_0-mine.gguf", "mine")
    project.write("ModelBuild.toml", TOML.replace("dist/${matrix.quantize}/base.gguf", output))
    for command in ([], ["check"]):
        project.run(*command, code=None)
        assert said in project.errors


def test_an_output_that_somebody_made_something_else_of_stays(project: Hand) -> None:
    project.do()
    project.write("dist/chat.gguf", "my notes")
    assert "dist/chat.gguf: already exists and is not a GGUF file" in project.do(code=1)
    assert project.bytes("dist/chat.gguf") == b"my notes"


def test_an_output_that_another_model_is_made_from_is_wrong(project: Hand) -> None:
    project.write(
        "ModelBuild.toml",
        '[model.a]\nfrom = "./weights"\noutput = "mid.gguf"\n[model.b]\nfrom = "./mid.gguf"\nquantize = "q8_0"\n',
    )
    for words in (["check"], ["-k"]):
        text = project.do(*words, code=1)
        assert "ModelBuild.toml:3:10: model 'a': 'mid.gguf' cannot be an output: 'b' is built from it" in text
        assert "'b' can use the model instead: from = \"a\"" in text
    assert not (project.folder / "mid.gguf").exists()


def test_deleting_the_cache_costs_an_output_nothing(project: Hand) -> None:
    project.do()
    shutil.rmtree(project.cache)
    project.write("ModelBuild.toml", TOML.replace('"q8_0"', '"q6_K"').replace(":q8_0", ":q6_K"))
    assert "written    dist/chat.gguf" in project.do()


def test_the_output_of_another_project_stays(project: Hand) -> None:
    project.do()
    made = project.bytes("dist/chat.gguf")
    project.write("other/ModelBuild.toml", '[model.x]\nfrom = "../weights"\noutput = "../dist/chat.gguf"\n')
    text = project.do(cwd="other", code=1)
    assert (
        "chat.gguf: already exists; another project or export wrote it\n  written by  " in text
        and "/ModelBuild.toml\n" in text
    )
    assert project.bytes("dist/chat.gguf") == made
    (project.folder / "ModelBuild.toml").unlink()
    project.do(cwd="other")


def test_outputs_in_a_folder_that_is_listed_end(project: Hand) -> None:
    """What a build writes must not look like a change to the next one."""
    toml = TOML.replace("[project]\n", '[project]\nmodelfiles = ["**/Modelfile"]\n')
    project.write("ModelBuild.toml", toml.replace('"dist/"', '"./"'))
    project.do()
    project.do()
    assert "nothing to do" in project.do()


def test_show_without_a_target_is_of_the_only_model(hand: Hand) -> None:
    toml = '[model.chat]\nfrom = "./weights"\nmatrix.quantize = ["q8_0", "f16"]\n'
    hand.write("ModelBuild.toml", toml)
    assert "'chat' matches 2 variants, need one" in hand.do("show", code=2)
    hand.write("ModelBuild.toml", toml + 'default.quantize = "f16"\n')
    assert hand.do("show").startswith("chat:f16\n")
    hand.write("ModelBuild.toml", toml + '[model.other]\nfrom = "chat:f16"\n')
    assert "'ModelBuild.toml' matches 3 variants, need one" in hand.do("show", code=2)


def test_what_was_built_in_another_type_is_not_shown_as_the_type_to_come(hand: Hand) -> None:
    hand.write("Modelfile", "FROM ./weights\n")
    hand.do()
    hand.do("-q", "q8_0")
    shown = hand.do("show")
    assert re.search("^type +bf16$", shown, re.M) and "built        changed: a build would change it" in shown
    assert re.search("^type +q8_0$", hand.do("show", "-q", "q8_0"), re.M)


# export


def test_an_export_is_read_back_to_the_same_model(project: Hand) -> None:
    text = project.do("export", "chat", "out/deep")
    assert (
        "written    out/deep/chat.gguf" in text
        and "try it: modelbuild run out/deep/Modelfile; in Ollama: ollama create NAME -f out/deep/Modelfile" in text
    )
    assert sorted(os.listdir(project.folder / "out/deep")) == ["Modelfile", "chat.gguf"]
    assert not project.models.exists()
    project.do()
    project.do("-f", "Modelfile", "-t", "back", "--models", str(project.models), cwd="out/deep")
    there, back = (project.manifest(name) for name in ("chat:latest", "back:latest"))
    assert [layer["digest"] for layer in back["layers"]] == [layer["digest"] for layer in there["layers"]]
    assert back["config"] == there["config"]


def test_several_variants_are_told_apart(project: Hand) -> None:
    project.do("export", "base", "chat", "out")
    names = ["base-q4_K_M", "base-q8_0", "chat"]
    assert sorted(os.listdir(project.folder / "out")) == sorted(
        f"{name}{suffix}" for name in names for suffix in (".Modelfile", ".gguf")
    )
    text = project.do("export", "base", "chat", "out")
    assert "nothing to do" in text and "wrote" not in text


def test_an_export_writes_over_nothing_without_force(project: Hand) -> None:
    project.write("out/Modelfile", "FROM mine\n")
    assert "out/Modelfile: already exists; modelbuild did not write it" in project.do("export", "chat", "out", code=1)
    assert os.listdir(project.folder / "out") == ["Modelfile"]
    project.do("export", "--force", "chat", "out")
    assert "FROM ./chat.gguf" in (project.folder / "out/Modelfile").read_text()
    text = project.do("export", "base:q8_0", "out", code=1)
    assert "already exists; another project or export wrote it" in text and "use --force" in text
    project.write("one.gguf", "GGUF mine")
    project.do("export", "chat", "one.gguf", code=1)
    project.do("export", "chat", "one.gguf", "--force")
    assert project.bytes("one.gguf") == project.bytes("out/chat.gguf")


def test_an_export_writes_over_nothing_that_is_read_nor_edited(project: Hand) -> None:
    project.write("chat/Modelfile", "FROM ../weights\nSYSTEM Mine.\n")
    said = "is an input of this build and would be overwritten"
    assert f"chat/Modelfile: {said}" in project.do("-f", "chat/Modelfile", "export", "--force", "chat", "chat", code=1)
    (project.folder / "out").mkdir()
    (project.folder / "out/Modelfile").symlink_to("../ModelBuild.toml")
    assert f"out/Modelfile: {said}" in project.do("export", "--force", "chat", "out", code=1)
    assert (project.folder / "ModelBuild.toml").read_text() == TOML
    assert "weights: is the checkpoint that this build reads" in project.do("export", "./weights", "weights", code=1)
    project.do("export", "chat", "new")
    made = (project.folder / "new/Modelfile").read_text()
    project.write("new/Modelfile", made + "PARAMETER seed 1\n")
    assert "new/Modelfile: was edited since modelbuild wrote it" in project.do("export", "chat", "new", code=1)
    project.do("export", "--force", "chat", "new")
    os.utime(project.folder / "new/Modelfile")
    project.do("export", "chat", "new")
    assert (project.folder / "new/Modelfile").read_text() == made


def test_no_two_models_of_an_export_are_one_file(project: Hand) -> None:
    row = '[model.{}]\nname = "{}"\ntag = "{}"\nfrom = "./weights"\nsystem = "{}"\n'
    project.write("ModelBuild.toml", row.format("x", "a-b", "c", "first") + row.format("y", "a", "b-c", "second"))
    project.do("export", "x", "y", "out")
    stem = "registry.ollama.ai-library-a-b-c"
    assert sorted(os.listdir(project.folder / "out")) == [
        f"{stem}-2.Modelfile", f"{stem}-2.gguf", f"{stem}.Modelfile", f"{stem}.gguf",
    ]  # fmt: skip
    assert "SYSTEM first" in (project.folder / f"out/{stem}.Modelfile").read_text()
    assert "SYSTEM second" in (project.folder / f"out/{stem}-2.Modelfile").read_text()


def test_hostile_names_do_nothing_to_a_terminal(hand: Hand) -> None:
    name = "\x1b[31mred\nerror: \u202egpj.gguf"
    hand.do("./weights", "-q", "q8_0", "-o", "x.gguf")
    (hand.folder / "x.gguf").rename(hand.folder / name)
    toml = '[model.m]\nfrom = "./\\u001b[31mred\\nerror: \\u202egpj.gguf"\ndescription = "\\u009b2J"\n'
    hand.write("ModelBuild.toml", toml)
    shown = "\\x1b[31mred\\nerror: \\u202egpj.gguf"
    for words in (["list"], ["graph"], ["graph", "--steps"], ["-o", f"new-{name}"], [f"./none-{name}"]):
        text = hand.do(*words, code=2 if words[0].startswith("./") else 0)
        assert shown in text and not {"\x1b", "\u202e"} & set(text), words
    assert "\\x9b2J" in hand.do("show", "m")
    data = hand.do("show", "m", "--json")
    assert not {"\x9b", "\u202e"} & set(data)
    assert json.loads(data)["description"] == "\x9b2J"


def test_an_export_without_targets_is_of_all_and_a_target_alone_lacks_the_place(project: Hand) -> None:
    project.do("export", "out/")
    project.do("export", "out")
    names = [name for name in os.listdir(project.folder / "out") if name.endswith(".gguf")]
    assert sorted(names) == ["base-q4_K_M.gguf", "base-q8_0.gguf", "chat.gguf"]
    for target in ("chat", "base:q8_0", "./weights"):
        text = project.do("export", target, code=2)
        assert f"error: DEST is missing: '{target}' is what to export" in text
        assert f"export {target} FOLDER`" in text
    assert "DEST is missing" in project.do("export", code=2)
    assert "wrote" not in project.do("export", "chat/")
    assert "chat" in os.listdir(project.folder)


def test_an_export_that_its_own_project_would_find_is_warned_of(hand: Hand) -> None:
    hand.write("ModelBuild.toml", '[project]\nmodelfiles = ["**/Modelfile"]\n')
    hand.write("chat/Modelfile", "FROM ../weights\n")
    assert "warning" not in hand.do("export", "chat", f"{hand.folder}-beside")
    said = hand.do("export", "chat", "out")
    assert (
        "warning: out: the Modelfiles in it are found by `modelfiles` of this project, as models of their own: out"
        in said
    )
    shutil.rmtree(hand.folder / "out")
    hand.write("ModelBuild.toml", '[project]\nmodelfiles = ["ch*/Modelfile"]\n')
    assert "warning" not in hand.do("export", "chat", "out")


def test_an_export_of_a_path(hand: Hand) -> None:
    hand.do("export", "./weights", "-q", "q8_0", "out")
    assert sorted(os.listdir(hand.folder / "out")) == ["Modelfile", "weights.gguf"]
    assert (hand.folder / "out/Modelfile").read_text().splitlines()[1] == "FROM ./weights.gguf"


def test_a_model_with_more_files_than_one(hand: Hand) -> None:
    from tests.attacks.test_adapter_lies import gguf_file as adapter_file
    from tests.plan.test_plan import gguf_file

    hand.do("./weights", "-q", "q8_0", "-o", "chat.gguf")
    (hand.folder / "d.gguf").write_bytes(hand.bytes("chat.gguf"))
    (hand.folder / "p.gguf").write_bytes(gguf_file("mmproj"))
    factors = {"blk.0.attn_q.weight.lora_a": (4, 256), "blk.0.attn_q.weight.lora_b": (256, 4)}
    (hand.folder / "l.gguf").write_bytes(adapter_file(factors, fill=0.1))
    toml = '[model.a]\nfrom = "./chat.gguf"\nprojector = "p.gguf"\nadapters = [{ path = "l.gguf" }]\ndraft = "d.gguf"\n'
    hand.write("ModelBuild.toml", toml)
    text = hand.do("a", "-o", "x.gguf", code=2)
    assert "'a' has a projector and an adapter and a draft besides its model: one file cannot contain both" in text
    assert "modelbuild export a FOLDER" in text
    hand.do("export", "a", "out")
    assert sorted(os.listdir(hand.folder / "out")) == [
        "Modelfile", "a-adapter.gguf", "a-draft.gguf", "a-mmproj.gguf", "a.gguf",
    ]  # fmt: skip
    hand.do()
    hand.do("-f", "Modelfile", "-t", "back", cwd="out")
    kinds = [
        [(each["mediaType"], each["digest"]) for each in hand.manifest(n)["layers"]]
        for n in ("a:latest", "back:latest")
    ]
    assert sorted(kinds[0]) == sorted(kinds[1])
    hand.write("ModelBuild.toml", toml + 'output = "o.gguf"\n')
    assert "one file cannot contain both" in hand.do(code=2)


# The end of a build


def test_the_end_of_a_build_says_how_to_run(project: Hand) -> None:
    text = project.do()
    assert re.search(r"\nin \S+/models; try one: modelbuild .*run \S+\n$", text)
    assert " run " not in project.do()
    (project.models / "manifests/registry.ollama.ai/library/chat/latest").unlink()
    assert " run " not in project.do("--quiet")
    (project.models / "manifests/registry.ollama.ai/library/chat/latest").unlink()
    assert "try " not in project.do("--json")


def test_a_server_that_reads_another_folder_is_told_of(project: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    asked: list[str] = []

    class Tags(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"models":[{"name":"other:latest","digest":"00"}]}')

        def log_message(self, *words: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Tags) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{server.server_port}")
        text = project.do("chat")
        assert f"warning: the Ollama server at 127.0.0.1:{server.server_port} does not list 'chat:latest'" in text
        assert asked == ["/api/tags"]
        for words in ((), ("--quiet",), ("--json",), ("-o", "x.gguf"), ("-n",)):
            project.do("chat", *words)
        assert asked == ["/api/tags"], "nothing was built, or nobody reads it"
        server.shutdown()


def test_show_names_the_file(project: Hand) -> None:
    project.do()
    found = json.loads(project.do("--json", "show", "chat"))
    assert Path(found["path"]).read_bytes() == project.bytes("dist/chat.gguf")
    assert found["outputs"] == [str(project.folder / "dist/chat.gguf")]
    assert found["path"] in project.do("show", "chat")
