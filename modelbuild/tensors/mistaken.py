"""Files that are not what their names say: Git LFS pointers, pickles, web pages."""

from __future__ import annotations

from modelbuild import lfs
from modelbuild.errors import Error


def refuse_pointer(head: bytes, path: str, what: str) -> None:
    """Raise Error where a file is a Git LFS pointer to the `what` that it should be."""
    if head.startswith(lfs.HEAD):
        words = dict(line.split(" ", 1) for line in head[:256].decode("utf-8", "replace").splitlines() if " " in line)
        facts = [(label, words[label]) for label in ("oid", "size") if label in words]
        raise Error(
            f"is a Git LFS pointer, not the {what} it stands for",
            path=path,
            facts=facts,
            hint=f"fetch the {what} with 'git lfs pull'",
        )


def refuse_other(head: bytes, path: str, expected: str) -> None:
    """Raise Error where the first bytes of a file are those of something else that is often found in its place."""
    refuse_pointer(head, path, "weights")
    if not head:
        raise Error(f"is empty, expected a {expected} file", path=path, hint="download it again")
    for start, name, hint in _OTHERS:
        if head.startswith(start) and expected not in name:
            raise Error(f"is {name}, expected {expected}", path=path, hint=hint)


_PICKLE_HINT = (
    "pickles can run code, so they are not read; load the model with transformers and save it with save_pretrained"
)
_OTHERS = (
    (b"GGUF", "a GGUF file", "name it .gguf"),
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint)", _PICKLE_HINT),
    (b"\x80\x02", "a pickle", _PICKLE_HINT),
    (b"\x80\x03", "a pickle", _PICKLE_HINT),
    (b"\x80\x04", "a pickle", _PICKLE_HINT),
    (b"\x80\x05", "a pickle", _PICKLE_HINT),
    (b"<!DOCTYPE", "an HTML page", "the download was a web page; download the file itself"),
    (b"<!doctype", "an HTML page", "the download was a web page; download the file itself"),
    (b"<html", "an HTML page", "the download was a web page; download the file itself"),
)
