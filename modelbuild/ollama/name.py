"""Names of models: `[host/][namespace/]model[:tag]`, as Ollama reads, shows and stores them."""

from __future__ import annotations

import re

from modelbuild.errors import Error
from modelbuild.tuples import NamedTuple
from modelbuild.words import character

HOST = "registry.ollama.ai"
NAMESPACE = "library"
TAG = "latest"

_PARTS = {
    "host": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*"), 350, "letters, digits, '_', '-', '.' and ':'"),
    "namespace": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*"), 80, "letters, digits, '_' and '-'"),
    "model": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*"), 80, "letters, digits, '_', '-' and '.'"),
    "tag": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*"), 80, "letters, digits, '_', '-' and '.'"),
}
"""Part -> its syntax, greatest length in bytes, and what it may hold (types/model/name.go, isValidPart)."""


class Name(NamedTuple):
    """A whole name. Made by `parse` or `from_path`, each of its parts is valid."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str, *, namespace: str = NAMESPACE) -> Name:
        """Read a name, filling what it leaves out. Raises Error that says which part is wrong, without a place.

        namespace  for names that give none
        """
        _, slash, last = text.rpartition("/")
        rest, colon, tag = last.rpartition(":")
        if not colon:
            rest, tag = last, TAG
        before = text[: len(text) - len(last)].removesuffix("/")
        host = HOST
        if slash:
            before, slash, namespace = before.rpartition("/")
            if slash:
                # As in Go, what follows a scheme may be empty: the name has no host of its own then.
                host = (before.partition("://")[2] or HOST) if "://" in before else before
        for part, value in (("host", host), ("namespace", namespace), ("model", rest), ("tag", tag)):
            _check(part, value, text)
        return cls(host, namespace, rest, tag)

    @classmethod
    def from_path(cls, path: str) -> Name:
        """The name whose manifest lies at `host/namespace/model/tag`. Raises Error where that is no name."""
        parts = path.split("/")
        if len(parts) != len(_PARTS):
            raise Error(f"'{path}' is not the path of a manifest", facts=[("form", "host/namespace/model/tag")])
        for part, value in zip(_PARTS, parts, strict=True):
            _check(part, value, path)
        return cls(*parts)

    def display(self) -> str:
        """The shortest form, always with its tag: `llama3:latest`, `user/m:v1`, `host/library/m:latest`."""
        short = f"{self.model}:{self.tag}"
        if self.host.lower() != HOST:
            return f"{self.host}/{self.namespace}/{short}"
        return short if self.namespace.lower() == NAMESPACE else f"{self.namespace}/{short}"

    def whole(self) -> str:
        """With its host and namespace, also where these go without saying: `registry.ollama.ai/library/llama3:latest`."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def path(self) -> str:
        """Where the manifest lies below `<models>/manifests`."""
        return f"{self.host}/{self.namespace}/{self.model}/{self.tag}"

    def folded(self) -> Name:
        """What two names share that differ only by case, which a case-insensitive disk cannot tell apart."""
        return Name(*(part.lower() for part in self))

    def unpushable(self) -> Error | None:
        """The error for a name that belongs to Ollama itself: nobody else can push to it."""
        if self.host.lower() != HOST or self.namespace.lower() != NAMESPACE:
            return None
        what = f"'{self.display()}' cannot be pushed: at {HOST}, names without a namespace are Ollama's own"
        return Error(what, hint=f"put your user name of ollama.com before it: 'USER/{self.model}:{self.tag}'")

    def reserved(self) -> Error | None:
        """A warning for a tag that Ollama takes off again before it looks the name up (internal/modelref)."""
        tag = self.tag.lower()
        if tag in ("local", "cloud") or tag.endswith("-cloud"):
            return Error(
                f"tag '{self.tag}' of '{self.display()}' is reserved: Ollama lists such a model but cannot run it",
                hint="choose another tag than 'local', 'cloud' and '…-cloud'",
            )
        return None


def can_be(part: str, value: str) -> bool:
    """Whether a text can be a part of a name: its host, namespace, model or tag."""
    rule, limit, _ = _PARTS[part]
    return rule.fullmatch(value) is not None and len(value) <= limit


def _check(part: str, value: str, text: str) -> None:
    if can_be(part, value):
        return
    rule, limit, allowed = _PARTS[part]
    shown = text if len(text) <= 120 else text[:119] + "…"
    facts = [("form", "[host/][namespace/]model[:tag]")]
    hint = None
    if not value:
        what = f"invalid model name '{shown}': the {part} is empty"
    elif len(value) > limit and rule.fullmatch(value):
        what = f"invalid model name '{shown}': the {part} is {len(value)} bytes long, expected at most {limit}"
    elif not re.match("[A-Za-z0-9_]", value):
        what = f"invalid model name '{shown}': the {part} '{value}' begins with '{value[0]}'"
        facts.append(("expected", "a letter, a digit or '_'"))
    else:
        at = next(char for index, char in enumerate(value) if not rule.fullmatch(value[: index + 1]))
        what = f"invalid model name '{shown}': the {part} '{value}' contains {character(at)}"
        facts.append(("expected", allowed))
        if "@" in value:
            hint = "a name cannot contain a digest"
        elif part == "namespace" and re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]+)?", value) and "/" in text:
            hint = f"a host is followed by a namespace: '{value}/{NAMESPACE}/{text.rpartition('/')[2]}'"
    raise Error(what, facts=facts, hint=hint)


def displayed(name: str) -> str:
    """A name's path (`host/namespace/model/tag`) as Ollama shows it: without the parts that go without saying."""
    return Name.from_path(name).display()
