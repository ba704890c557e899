"""Folders as the Hugging Face cache lays them out: models--ORG--NAME/snapshots/REVISION/…, of links into blobs/."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from modelbuild.checkpoint.hf_repository import Repository, is_commit
from modelbuild.errors import Error
from modelbuild.observed import Observed
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

REFERENCE_LIMIT = 1024
"""Bytes of a file that names a revision, which takes 40."""


def snapshot(folder: str, observed: Observed) -> str:
    """The folder that holds a model's files: of a model of the cache its snapshot, any other folder itself.

    The snapshot is the one that refs/main names, or the only one. Raises Error where that cannot be told.
    """
    entries = {name: kind for name, kind, _ in observed.entries(folder)}
    below = os.path.join(folder, "snapshots")
    if entries.get("snapshots") != "folder" or "file" in entries.values():
        return folder
    revisions = [name for name, kind, _ in observed.entries(below) if kind == "folder"]
    main = _main(folder, observed)
    if main in revisions:
        return os.path.join(below, main)
    if main is None and len(revisions) == 1:
        return os.path.join(below, revisions[0])
    name = _name(folder)
    again = f"`hf download {name}`, then build again" if name else None
    if not revisions:
        raise Error("is a model of the Hugging Face cache without a snapshot", hint=again)
    facts = [("snapshots", listed(f"snapshots/{each}" for each in revisions))]
    if main is not None:
        facts.append(("refs/main", main if main.isprintable() else ascii(main)))
        raise Error(
            "is a model of the Hugging Face cache whose refs/main names a snapshot that is missing",
            facts=facts,
            hint=again or "name one of the snapshots",
        )
    raise Error(
        f"is a model of the Hugging Face cache with {len(revisions)} snapshots, and refs/main names none of them",
        facts=facts,
        hint="name one of the snapshots",
    )


def _main(folder: str, observed: Observed) -> str | None:
    path = os.path.join(folder, "refs", "main")
    if observed.kind(path) != "file":
        return None
    observed.stat(path)
    if os.path.getsize(path) > REFERENCE_LIMIT:
        return "?"
    return observed.read(path).decode("utf-8", "replace").strip()


def _name(folder: str) -> str | None:
    """`org/name`, of a folder in the cache."""
    parts = os.path.basename(os.path.abspath(folder)).split("--")
    return "/".join(parts[1:]) if parts[0] == "models" and len(parts) in (2, 3) else None


def check_links(folder: str, small: Iterable[str]) -> None:
    """Raise Error where a weights file, or one of the `small` files, is a link that leads nowhere: the download was not finished."""
    small = set(small)
    broken = sorted(
        name for name in os.listdir(folder) if _counts(name, small) and _is_broken(os.path.join(folder, name))
    )
    if not broken:
        return
    name = _name(os.path.dirname(os.path.dirname(os.path.abspath(folder))))
    again = f"`hf download {name}`" if name else "download it again"
    many = "a file is a link" if len(broken) == 1 else f"{len(broken)} files are links"
    raise Error(
        f"the download is incomplete: {many} to nothing",
        facts=[("files", listed(broken)), ("link", f"{broken[0]} -> {os.readlink(os.path.join(folder, broken[0]))}")],
        hint=f"{again}, then build again",
    )


def _counts(name: str, small: set[str]) -> bool:
    return name in small or name.endswith(".gguf") or (name.startswith("model") and name.endswith(".safetensors"))


def _is_broken(path: str) -> bool:
    if not os.path.islink(path):
        return False
    try:
        os.stat(path)
    except OSError:
        return True
    return False


# A repository by its name


def home(env: Callable[[str], str | None]) -> str:
    """The folder of all repositories, by the variables that huggingface_hub reads (constants.py)."""
    named = env("HF_HUB_CACHE") or env("HUGGINGFACE_HUB_CACHE")
    if not named:
        above = env("HF_HOME") or os.path.join(env("XDG_CACHE_HOME") or "~/.cache", "huggingface")
        named = os.path.join(above, "hub")
    return os.path.abspath(os.path.expanduser(os.path.expandvars(named)))


class Snapshot(NamedTuple):
    """Where the cache keeps a repository's files as of a commit.

    folder   the files; they are links into `blobs/`
    missing  empty files in the place of those that the repository is known not to have: huggingface_hub's own marks
    """

    folder: str
    missing: str


def snapshot_of(home: str, repository: Repository, commit: str) -> Snapshot:
    """The snapshot of a commit, there or not."""
    folder = repository_folder(home, repository)
    return Snapshot(os.path.join(folder, "snapshots", commit), os.path.join(folder, ".no_exist", commit))


def repository_folder(home: str, repository: Repository) -> str:
    return os.path.join(home, f"models--{repository.owner}--{repository.name}")


def last_commit(home: str, repository: Repository, observed: Observed) -> str | None:
    """The commit that a revision meant when it was last asked for; None where the cache does not know."""
    revision = repository.revision or "main"
    if is_commit(revision):
        return revision
    path = os.path.join(repository_folder(home, repository), "refs", *revision.split("/"))
    try:
        commit = observed.read(path).decode("utf-8", "replace").strip()
    except OSError:
        return None
    return commit if is_commit(commit) else None


TEMPLATES = "additional_chat_templates"


def lacking(snapshot: Snapshot, observed: Observed) -> str | None:
    """The first file of a snapshot that a conversion looks for and of which nobody knows whether the repository has it.

    None where all is there: the small files, or a mark for each that does not exist, and the weights. Their absence decides
    bytes, so that a snapshot is not used in which some other tool took only a part.
    """
    from modelbuild.checkpoint import shards

    try:
        names = [name for name, _, _ in observed.entries(snapshot.folder)]
    except OSError:
        return "config.json"
    for name in (*shards.FILES, TEMPLATES, *shards.SOMETIMES):
        if name == shards.PIECES and not _reads_pieces(snapshot, observed):
            continue
        if name not in names and observed.kind(os.path.join(snapshot.missing, name)) is None:
            return name
    try:
        index = observed.read(os.path.join(snapshot.folder, shards.INDEX)) if shards.INDEX in names else None
        weights = shards.weights(names, index)
    except (Error, OSError) as error:
        return error.path if isinstance(error, Error) and error.path else "model.safetensors"
    gap = shards.gap(weights) if index is None else None
    return gap.first[0] if gap is not None else None


def _reads_pieces(snapshot: Snapshot, observed: Observed) -> bool:
    from modelbuild.checkpoint import shards

    try:
        return shards.reads_pieces(observed.read(os.path.join(snapshot.folder, "config.json")))
    except OSError:
        return False
