"""A seal on the texts of exports: by it a text that nobody has edited is known as ours, even if the cache was deleted."""

from __future__ import annotations

import json
import re
from typing import Any

from modelbuild.digest import sha256

_LINE = re.compile(rb"(?:\A|.*\n)[^\n]{1,8}exported by modelbuild, (sha256:[0-9a-f]{64})[^\n]{0,8}\n\Z", re.DOTALL)
_MEMBER = "dev.modelbuild.seal"


def sealed(text: str, comment: str) -> bytes:
    """A text with the seal as its last line; `comment` is how the text's language spells a comment: `# {}`; a line end before adds one."""
    data = text.encode("utf-8", "surrogatepass")
    _, _, line = comment.rpartition("\n")
    data += b"\n" if comment != line else b""
    return data + line.format(f"exported by modelbuild, {sha256(data)}").encode() + b"\n"


def sealed_json(value: dict[str, Any]) -> bytes:
    """A JSON object with the seal among its annotations."""
    return _spelled({**value, "annotations": {_MEMBER: sha256(_spelled(value))}})


def is_whole(data: bytes) -> bool:
    """Whether a text is as it was sealed."""
    if data.startswith(b"{"):
        try:
            value = json.loads(data)
            seal = value.pop("annotations")
            return bool(seal == {_MEMBER: sha256(_spelled(value))} and _spelled({**value, "annotations": seal}) == data)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False
    found = _LINE.match(data)
    if not found:
        return False
    start = data.rfind(b"\n", 0, len(data) - 1) + 1
    return sha256(data[:start]) == found[1].decode()


def _spelled(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
