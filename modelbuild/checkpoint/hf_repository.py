"""Repositories of Hugging Face as a project names them: `hf.co/ORG/REPOSITORY`, `hf://ORG/REPOSITORY@REVISION`."""

from __future__ import annotations

import re

from modelbuild.tuples import NamedTuple

PREFIX = "hf.co/"
"""What a repository's key begins with."""

_HOSTS = r"(?:hf://|(?:https://)?(?:www\.)?(?:hf\.co|huggingface\.co)/)"
_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_REVISION = r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*"
_SPELLED = rf"(?i:({_HOSTS})({_PART})/({_PART})(?:@({_REVISION}))?/?)"
"""Compiled when it is needed: most projects name no repository."""

_COMMIT = "[0-9a-f]{40}"


class Repository(NamedTuple):
    """A repository, and which revision of it: a branch, a tag or a commit; None for the main branch.

    explicit  whether it can only mean a checkpoint: `hf.co/ORG/REPOSITORY` may also be a model of a registry, of GGUF files
    """

    owner: str
    name: str
    revision: str | None
    explicit: bool

    @property
    def id(self) -> str:
        """As Hugging Face names it."""
        return f"{self.owner}/{self.name}"

    @property
    def key(self) -> str:
        """As the lock names it: one spelling for all that mean the same."""
        return PREFIX + self.id + (f"@{self.revision}" if self.revision else "")


def parse(text: str) -> Repository | None:
    """The repository that a text names; None for any other text, and for a model of a registry with its tag."""
    found = re.fullmatch(_SPELLED, text) if "/" in text else None
    if found is None:
        return None
    host, owner, name, revision = found.groups()
    if ".." in text or name.lower().endswith(".git"):
        return None
    return Repository(owner, name, revision, host.lower() == "hf://" or revision is not None)


def is_commit(text: str) -> bool:
    """Whether a text is a commit, as git names it in full."""
    return re.fullmatch(_COMMIT, text) is not None


def is_key(text: str) -> bool:
    """Whether a text is the key of a repository."""
    found = parse(text)
    return found is not None and found.key == text
