"""The files of a project as they were at a git revision, in a folder of their own; the checkout and its index stay as they are.

Small files are copies of what git has. Large ones (weights) are links to those of today, and what git does not know, such as
ignored weights, is linked too: nothing large is copied, and nothing is fetched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from modelbuild.digest import xxh3
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.project.discovery import PROJECT_FILE
from modelbuild.words import cut

SMALL = 1 << 20
"""Bytes of a file that is copied."""
POINTER = b"version https://git-lfs.github.com/spec/"
_BATCH = 32 << 20
"""Bytes that git is asked for at once."""
_FOLDER, _FILE, _LINK, _SUBMODULE = "040000", "100", "120000", "160000"


class Revision(NamedTuple):
    """A revision of the repository around a project.

    root     the folder of the checkout
    folder   where the files of the revision lie
    changed  the paths, below `folder`, of files that stand for others: theirs of today, since git alone has the old ones
    """

    name: str
    commit: str
    root: str
    folder: str
    changed: frozenset[str]

    def path(self, path: str) -> str:
        """Where a path of the checkout lies in the revision."""
        return os.path.join(self.folder, os.path.relpath(path, self.root))


class _Entry(NamedTuple):
    mode: str
    digest: str
    size: int
    path: str


@contextlib.contextmanager
def of(name: str, file: str, store: Store) -> Iterator[Revision]:
    """The revision of that name in the repository around a project's file. Raises Error where git cannot tell."""
    git = _Git(os.path.dirname(file))
    commit = git.commit(name)
    # One folder for each checkout: the plan of a project is kept under its path.
    home = os.path.join(store.root, "revisions", xxh3(os.fsencode(git.root)).removeprefix("xxh3:"))
    with store.lock(f"revision-{os.path.basename(home)}"):
        shutil.rmtree(home, ignore_errors=True)
        folder = os.path.join(home, os.path.basename(git.root) or "root")
        try:
            os.makedirs(folder)
            changed = _write(git, commit, folder, os.path.realpath(store.root))
            yield Revision(name, commit, git.root, folder, frozenset(changed))
        except OSError as error:
            raise Error(
                f"the files of {name} cannot be written: {error.strerror}", path=error.filename or home
            ) from None
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _write(git: _Git, commit: str, folder: str, cache: str) -> list[str]:
    """Put the files of a commit into a folder; returns the paths of those that are not what they were."""
    entries = list(git.entries(commit))
    changed_since = git.changed_since(commit)
    small = [each for each in entries if each.mode.startswith(_FILE) and each.size <= SMALL]
    large = [each for each in entries if each.mode.startswith(_FILE) and each.size > SMALL]
    links = [each for each in entries if each.mode == _LINK]
    others: list[str] = []
    for entry, data in git.contents(small):
        if data.startswith(POINTER):
            large.append(entry)
        else:
            _put(folder, entry.path, data)
    for entry in large:
        today = os.path.join(git.root, entry.path)
        if os.path.lexists(today):
            _link(folder, entry.path, today)
            others += [os.path.join(folder, entry.path)] if entry.path in changed_since else []
        elif entry.size > SMALL:
            for _, data in git.contents([entry]):
                _put(folder, entry.path, data)
    for entry in entries:
        if entry.mode == _SUBMODULE:
            _link(folder, entry.path, os.path.join(git.root, entry.path))
    for path in _untracked(git, cache):
        _link(folder, path, os.path.join(git.root, path))
    # Last, so that nothing is written through one.
    for entry, data in git.contents(links):
        target = os.fsdecode(data)
        with contextlib.suppress(FileExistsError):
            _folder_of(folder, entry.path)
            os.symlink(target, os.path.join(folder, entry.path))
    return others


def _put(folder: str, path: str, data: bytes) -> None:
    _folder_of(folder, path)
    with open(os.path.join(folder, path), "xb") as file:
        file.write(data)


def _link(folder: str, path: str, target: str) -> None:
    _folder_of(folder, path)
    with contextlib.suppress(FileExistsError):
        os.symlink(target, os.path.join(folder, path))


def _folder_of(folder: str, path: str) -> None:
    os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)


def _untracked(git: _Git, cache: str) -> Iterator[str]:
    """What lies in the checkout and git has not: weights, models folders.

    A Modelfile among it is new, and so it is left out; so is a small file that nobody told git to ignore.
    """
    new = set(git.untracked("--exclude-standard"))
    rest = git.untracked()
    while rest:
        path = rest.pop()
        whole = os.path.join(git.root, path)
        if path in new and os.path.isfile(whole) and os.path.getsize(whole) <= SMALL:
            continue
        if _is_declared(os.path.basename(path)) or os.path.realpath(whole) == cache:
            continue
        if os.path.isdir(whole) and not os.path.islink(whole) and _has_declarations(whole, cache):
            with contextlib.suppress(OSError):
                rest += [os.path.join(path, name) for name in os.listdir(whole)]
            continue
        yield path


def _has_declarations(folder: str, cache: str) -> bool:
    return any(os.path.realpath(above) == cache or any(map(_is_declared, files)) for above, _, files in os.walk(folder))


def _is_declared(name: str) -> bool:
    return name == PROJECT_FILE or "modelfile" in name.lower()


class _Git:
    """Asks git about the checkout around a folder. Raises Error."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        done = self._run("rev-parse", "--show-toplevel")
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ").split("\n")[0]
            if "not a git repository" in reason:
                raise Error("not in a git repository", path=folder, hint="--since compares with a revision of git")
            raise Error(f"git: {cut(reason, 200)}", path=folder)
        self.root = os.path.realpath(os.fsdecode(done.stdout.rstrip(b"\n")))
        self._folder = self.root

    def _run(self, *words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        # Git refreshes its index on the side, which would change the checkout; and it would fetch what a partial clone lacks.
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
        command = ["git", "-C", self._folder, "-c", "core.quotePath=false", *words]
        try:
            return subprocess.run(command, input=given, capture_output=True, env=environment, check=False)
        except FileNotFoundError:
            raise Error("git is not installed", hint="--since needs git to read a revision; install it") from None
        except OSError as error:
            raise Error(f"git cannot be run: {error.strerror}") from None

    def _asked(self, *words: str, given: bytes | None = None) -> bytes:
        done = self._run(*words, given=given)
        if done.returncode:
            reason = done.stderr.decode("utf-8", "replace").strip().split("\n")[0].removeprefix("fatal: ")
            raise Error(f"git {words[0]}: {cut(reason, 200) or f'exit code {done.returncode}'}", path=self.root)
        return done.stdout

    def commit(self, name: str) -> str:
        """The commit that a name of a revision means."""
        wrong = not name or name.startswith("-") or "\0" in name
        done = None if wrong else self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if done is not None and done.returncode == 0:
            return done.stdout.decode().strip()
        if self._asked("rev-parse", "--is-shallow-repository").strip() == b"true":
            hint = "this clone is shallow: `git fetch --unshallow`, or fetch the revision with `git fetch --depth=1 origin REF`"
        else:
            hint = "name a branch, a tag or a commit: `git log --oneline` lists commits, `git branch -a` branches"
        raise Error(f"git knows no revision '{cut(name, 80)}'", path=self.root, hint=hint)

    def entries(self, commit: str) -> Iterator[_Entry]:
        """The files of a commit."""
        for line in filter(None, self._asked("ls-tree", "-r", "-z", "-l", commit).split(b"\0")):
            head, _, path = line.partition(b"\t")
            mode, _, digest, size = head.split()
            name = os.fsdecode(path)
            # A tree that somebody made by hand may name anything.
            if not any(part in ("", "..", ".", ".git") for part in name.split("/")):
                yield _Entry(mode.decode(), digest.decode(), int(size) if size != b"-" else 0, name)

    def changed_since(self, commit: str) -> set[str]:
        """The files of the checkout that are others than in a commit."""
        listed = self._asked("diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", commit, "--")
        return {os.fsdecode(path) for path in listed.split(b"\0") if path}

    def untracked(self, *options: str) -> list[str]:
        """Files and folders that are not git's, ignored ones too; of a folder without any of git's only itself."""
        listed = self._asked("ls-files", "--others", "--directory", "--no-empty-directory", *options, "-z")
        return [os.fsdecode(path).rstrip("/") for path in listed.split(b"\0") if path]

    def contents(self, entries: Sequence[_Entry]) -> Iterator[tuple[_Entry, bytes]]:
        """The bytes of files."""
        for batch in _batches(entries):
            data = self._asked("cat-file", "--batch", given="".join(f"{each.digest}\n" for each in batch).encode())
            at = 0
            for entry in batch:
                end = data.index(b"\n", at)
                kind, size = data[at:end].split()[1], data[at:end].split()[-1]
                if kind != b"blob":
                    raise Error(
                        f"git has not the content of '{entry.path}'", path=self.root, hint="fetch it: `git fetch`"
                    )
                yield entry, data[end + 1 : end + 1 + int(size)]
                at = end + 2 + int(size)


def _batches(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    batch: list[_Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
