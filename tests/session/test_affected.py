"""Variants that may differ between two plans; tests/e2e/test_affected.py has the whole table of edits."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.engine.graph import Source
from modelbuild.errors import Error
from modelbuild.project import lock
from modelbuild.session import affected, revision
from modelbuild.session.affected import Found
from modelbuild.session.session import Session
from tests.e2e.project import Project
from tests.session.conftest import Open
from tests.session.test_revision import git


@pytest.fixture
def repo(project: Project) -> Project:
    project.write(".gitignore", "/cache\n/models\n")
    git(project.folder, "init", "-q")
    git(project.folder, "add", "-A")
    git(project.folder, "commit", "-qm", "one")
    return project


def since(session: Session, *targets: str, name: str = "HEAD") -> Found:
    selection = session.select(targets) if targets else session.everything()
    with revision.of(name, session.file, session.store) as before:
        earlier = affected.open_before(session, before)
        try:
            return affected.affected(session, selection, earlier, before)
        finally:
            if earlier is not None:
                earlier.close()


def changes(found: Found) -> dict[str, str]:
    return {each.label: each.change for each in found.variants}


def rewrite(project: Project, old: str, new: str) -> None:
    path = project.folder / "ModelBuild.toml"
    path.write_text(path.read_text().replace(old, new))


def test_nothing_differs_from_itself(repo: Project, start: Open) -> None:
    found = since(start())
    assert found.variants == [] and found.unchanged == 2


def test_sizes_and_types_are_those_of_both_sides(repo: Project, start: Open) -> None:
    rewrite(repo, "q8_0", "q4_0")
    found = since(start())
    assert changes(found) == {"base": "changed", "chat": "changed"}
    base = found.variants[0]
    assert base.before is not None and base.after is not None
    assert base.before.types == {"q8_0": 16, "f32": 5} and set(base.after.types) == {"q4_0", "q6_k", "f32"}
    assert (base.before.bytes or 0) > (base.after.bytes or 0) > 0
    assert [(cause.what, cause.before, cause.after) for cause in base.causes] == [("quantize", "q8_0", "q4_0")]


def test_added_removed_broken_and_fixed_variants_are_told(repo: Project, start: Open) -> None:
    rewrite(
        repo,
        "[model.chat]",
        '[model.bad]\nfrom = "./nothing"\n[model.more]\nfrom = "base"\nsystem = "x"\n[model.other]',
    )
    found = since(start())
    assert changes(found) == {"other": "added", "more": "added", "bad": "broken", "chat": "removed"}
    assert found.unchanged == 1
    assert "nothing" in next(each.error for each in found.variants if each.label == "bad")
    git(repo.folder, "commit", "-qam", "two")
    rewrite(repo, "./nothing", "base")
    assert changes(since(start())) == {"bad": "fixed"}


def test_targets_are_all_that_is_compared(repo: Project, start: Open) -> None:
    rewrite(repo, "Hello.", "Bye.")
    assert changes(since(start(), "base")) == {}
    assert changes(since(start(), "chat")) == {"chat": "changed"}


def test_weights_that_git_has_are_compared(repo: Project, start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (revision, affected):
        monkeypatch.setattr(module, "SMALL", 1 << 16)
    assert changes(since(start())) == {}
    weights = repo.folder / "weights/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    found = since(start())
    assert changes(found) == {"base": "changed", "chat": "changed"}
    assert [cause.what for cause in found.variants[0].causes] == [str(weights)]


def test_weights_behind_a_link_are_compared(repo: Project, start: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (revision, affected):
        monkeypatch.setattr(module, "SMALL", 1 << 16)
    (repo.folder / "lw").symlink_to("weights")
    rewrite(repo, '"./weights"', '"./lw"')
    git(repo.folder, "add", "-A")
    git(repo.folder, "commit", "-qm", "link")
    assert changes(since(start())) == {}
    with (repo.folder / "weights/model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert changes(since(start())) == {"base": "changed", "chat": "changed"}


def test_weights_beside_the_checkout_are_the_same(repo: Project, start: Open) -> None:
    beside = repo.folder.parent / "beside"
    (repo.folder / "weights").rename(beside)
    rewrite(repo, '"./weights"', '"../beside"')
    git(repo.folder, "add", "-A")
    git(repo.folder, "commit", "-qm", "beside")
    found = since(start())
    assert found.variants == [] and found.unchanged == 2


def test_pointers_of_git_lfs_are_equal_to_themselves(repo: Project, start: Open) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"
    repo.write("weights/model.safetensors", pointer)
    git(repo.folder, "commit", "-qam", "pointers")
    assert since(start()).variants == []


def pinned(project: Project, session: Session) -> None:
    """Write the lock that a build with a remote cache writes."""
    path = project.folder / "weights/model.safetensors"
    digest = session.sources.digest(Source(str(path), "safetensors"))
    (project.folder / "ModelBuild.lock").write_bytes(
        lock.encode({"./weights/model.safetensors": f"{sha256(path.read_bytes())} {digest}"})
    )


@pytest.mark.parametrize("tracked", [True, False])
def test_weights_that_are_not_here_are_what_the_lock_pins(
    repo: Project, start: Open, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    """In git or not; and the lock may be newer than the revision."""
    monkeypatch.setattr(affected, "SMALL", 1000)
    monkeypatch.setattr(revision, "SMALL", 1000)
    if not tracked:
        repo.write(".gitignore", "/cache\n/models\n*.safetensors\n")
        git(repo.folder, "rm", "-q", "--cached", "weights/model.safetensors")
        git(repo.folder, "add", "-A")
        git(repo.folder, "commit", "-qm", "two")
    pinned(repo, start())
    (repo.folder / "weights/model.safetensors").unlink()
    found = since(start())
    assert found.variants == [] and found.unchanged == 2
    git(repo.folder, "add", "ModelBuild.lock")
    git(repo.folder, "commit", "-qm", "three")
    assert since(start()).unchanged == 2
    text = (repo.folder / "ModelBuild.lock").read_text()
    at = text.index("xxh3:") + 5
    (repo.folder / "ModelBuild.lock").write_text(f"{text[:at]}{'0' * 32}{text[at + 32 :]}")
    assert changes(since(start())) == {"base": "changed", "chat": "changed"}


def test_a_project_that_was_not_there_is_added_whole(repo: Project, start: Open) -> None:
    repo.write("sub/ModelBuild.toml", '[model.new]\nfrom = "../weights"\n')
    session = start(folder=str(repo.folder / "sub"))
    assert changes(since(session)) == {"new": "added"}


def test_a_project_that_could_not_be_read_is_an_error(repo: Project, start: Open) -> None:
    whole = Path(repo.folder / "ModelBuild.toml").read_text()
    repo.write("ModelBuild.toml", "[model")
    git(repo.folder, "commit", "-qam", "bad")
    repo.write("ModelBuild.toml", whole)
    with pytest.raises(Error, match=r"cannot be read as it was at HEAD: ModelBuild.toml:1"):
        since(start())


def test_the_store_keeps_no_trace_of_the_other_tree(repo: Project, start: Open) -> None:
    since(start())
    assert list((repo.cache / "revisions").iterdir()) == []


def test_in_the_folder_of_a_part_both_sides_are_the_part(repo: Project, start: Open) -> None:
    repo.write("ModelBuild.toml", '[project]\ninclude = ["*/ModelBuild.toml"]\n[model.base]\nfrom = "./weights"\n')
    for part in ("a", "b"):
        repo.write(f"{part}/ModelBuild.toml", '[model.one]\nfrom = "base"\n[model.two]\nfrom = "one"\n')
    git(repo.folder, "add", "-A")
    git(repo.folder, "commit", "-qm", "parts")
    within = str(repo.folder / "a")
    assert since(start(folder=within)) == ([], 2)
    repo.write("a/ModelBuild.toml", '[model.one]\nfrom = "base"\nsystem = "x"\n')
    assert changes(since(start(folder=within))) == {"a/one": "changed", "a/two": "removed"}
    repo.write("a/ModelBuild.toml", '[project]\nname = "c"\n[model.one]\nfrom = "base"\n')
    assert changes(since(start(folder=within))) == {"c/one": "added", "a/one": "removed", "a/two": "removed"}
    assert changes(since(start(folder=within), name="HEAD~1")) == {"c/one": "added"}
