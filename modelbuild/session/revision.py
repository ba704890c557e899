"""The files of a project as they were at a git revision, in a folder of their own; the checkout and its index stay as they are.

Small files are copies. Large ones (weights) are links to those of today, and what git does not know, such as ignored weights, is
linked too: nothing large is copied, and nothing is fetched. Submodules are repositories like the one around them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence

from modelbuild import lfs
from modelbuild.digest import xxh3
from modelbuild.engine.store import Store
from modelbuild.errors import Error
from modelbuild.files import read_plain
from modelbuild.project.discovery import PROJECT_FILE
from modelbuild.tuples import NamedTuple
from modelbuild.words import cut

SMALL = 1 << 20
"""Bytes of a file that is copied."""
_BATCH = 32 << 20
"""Bytes that git is asked for at once."""
_SUBMODULES = "--ignore-submodules=untracked"
"""What a user has set might hide that they have changed."""
_FOLDER, _FILE, _LINK, _SUBMODULE = "040000", "100", "120000", "160000"


NOTHING = "0" * 40
"""The commit before the first one."""


class Revision(NamedTuple):
    """A revision of the repository around a project.

    root     the folder of the checkout
    folder   where the files of the revision lie
    changed  the real paths of today's files, and of folders of submodules, that are not what they were
    """

    name: str
    commit: str
    root: str
    folder: str
    changed: frozenset[str]

    def path(self, path: str) -> str:
        """Where a path of the checkout lies in the revision."""
        return os.path.join(self.folder, os.path.relpath(path, self.root))

    def differs(self, real: str) -> bool:
        """Whether a file of today, by its real path, is not what it was."""
        while real not in self.changed:
            above = os.path.dirname(real)
            if above == real:
                return False
            real = above
        return True


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
        folder = os.path.join(home, git.root.lstrip(os.sep) or "root")
        try:
            os.makedirs(folder)
            _surround(home, git.root)
            changed = set[str]() if commit == NOTHING else _write(git, commit, folder, os.path.realpath(store.root))
            yield Revision(name, commit, git.root, folder, _real(changed))
        except OSError as error:
            raise Error(
                f"the files of {name} cannot be written: {error.strerror}", path=error.filename or home
            ) from None
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _real(paths: set[str]) -> frozenset[str]:
    # A link to a folder is another link, which is told without this; the files in that folder are what they were.
    return frozenset(os.path.realpath(path) for path in paths if not (os.path.islink(path) and os.path.isdir(path)))


def _surround(home: str, root: str) -> None:
    """Link what lies around the checkout, for paths that lead out of it by `..`."""
    above, inner = os.path.split(root)
    while inner:
        # There may be thousands.
        beside = os.path.join(home, above.lstrip(os.sep))
        with contextlib.suppress(OSError):
            for name in os.listdir(above):
                if name != inner:
                    os.symlink(os.path.join(above, name), os.path.join(beside, name))
        above, inner = os.path.split(above)


def _write(git: _Git, commit: str, folder: str, cache: str) -> set[str]:
    """Put the files of a commit into a folder; returns the paths of today's files and submodules that are not what they were."""
    entries = list(git.entries(commit))
    changed_since = git.changed_since(commit)
    changed = {os.path.join(git.root, path) for path in changed_since}
    files = [each for each in entries if each.mode.startswith(_FILE)]
    links = [each for each in entries if each.mode == _LINK]
    small, large = [], [each for each in files if each.size > SMALL]
    for entry in files:
        if entry.size <= SMALL and (entry.path in changed_since or not _copied(git.root, folder, entry.path)):
            small.append(entry)
    for entry, data in git.contents(small):
        if data.startswith(lfs.HEAD):
            large.append(entry)
        else:
            _put(folder, entry.path, data)
    for entry in large:
        today = os.path.join(git.root, entry.path)
        if os.path.isfile(today):
            _link(folder, entry.path, today)
        elif entry.size > SMALL:
            for _, data in git.contents([entry]):
                _put(folder, entry.path, data)
    for entry in entries:
        if entry.mode == _SUBMODULE:
            changed = _write_submodule(git, entry, folder, cache, changed)
    for path in _untracked(git, cache):
        _link(folder, path, os.path.join(git.root, path))
    # Last, so that nothing is written through one.
    for entry, data in git.contents(links):
        _link(folder, entry.path, os.fsdecode(data))
    return changed


def _copied(root: str, folder: str, path: str) -> bool:
    """Put a file that git says is unchanged: as it lies in the checkout, which git's filters may have made of what git has.

    False where it is not there. A large one was made of a pointer of git-lfs: it is linked.
    """
    today = os.path.join(root, path)
    try:
        if os.path.islink(today) or not os.path.isfile(today):
            return False
        if os.path.getsize(today) > SMALL:
            _link(folder, path, today)
        else:
            _put(folder, path, read_plain(today, SMALL)[0])
    except OSError:
        return False
    return True


def _write_submodule(around: _Git, entry: _Entry, folder: str, cache: str, changed: set[str]) -> set[str]:
    """Put the files of a submodule; returns what is changed with it.

    Where its own repository lacks the commit, today's files stand for them: all count as changed if the submodule is another.
    """
    today, then = os.path.join(around.root, entry.path), os.path.join(folder, entry.path)
    if os.path.lexists(os.path.join(today, ".git")):
        try:
            git = _Git(today)
            commit = git.commit(entry.digest)
            os.makedirs(then, exist_ok=True)
            return (changed - {today}) | _write(git, commit, then, cache)
        except Error:
            shutil.rmtree(then, ignore_errors=True)
    _link(folder, entry.path, today)
    return changed


def _put(folder: str, path: str, data: bytes) -> None:
    _folder_of(folder, path)
    with open(os.path.join(folder, path), "xb") as file:
        file.write(data)


def _link(folder: str, path: str, target: str) -> None:
    # What is a folder today may have been a file.
    with contextlib.suppress(FileExistsError, NotADirectoryError):
        _folder_of(folder, path)
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
        self._local: set[str] = set()
        # Git itself sets these for its hooks: they name a repository, which need not be the one of this folder.
        local = self._run("rev-parse", "--local-env-vars").stdout.decode().split()
        self._local = {name for name in local if not name.startswith("GIT_CONFIG")}
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
        inherited = {name: value for name, value in os.environ.items() if name not in self._local}
        environment = {**inherited, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
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
        """The commit that a name of a revision means; NOTHING for as many zeros as a commit has, as git and CI say it of a new branch."""
        if name in (NOTHING, "0" * 64):
            return NOTHING
        wrong = not name or name.startswith(("-", "^")) or "\0" in name
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
        listed = self._asked("diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", _SUBMODULES, commit, "--")
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
