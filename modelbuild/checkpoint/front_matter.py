"""The front matter of a model card: the YAML that README.md starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelbuild.errors import Error

if TYPE_CHECKING:
    from modelbuild.checkpoint.checkpoint import Checkpoint

LIMIT = 1_000_000
"""Characters of the front matter; the largest real ones have a few hundred thousand."""


def read(checkpoint: Checkpoint) -> dict[str, Any]:
    """The YAML that README.md starts with; empty where there is none."""
    path = "README.md"
    text = checkpoint.text(path) or ""
    lines = text[:LIMIT].splitlines()
    if not lines or lines[0] != "---":
        return {}
    import yaml  # type: ignore[import-untyped, unused-ignore]

    from modelbuild.checkpoint import card_yaml

    end = lines.index("---", 1) if "---" in lines[1:] else len(lines)
    if end == len(lines) and len(text) > LIMIT:
        raise Error(
            f"the front matter is longer than {LIMIT:,} characters",
            path=path,
            hint="end it with a line '---', or remove what does not describe the model",
        )
    # A language 'no' is not False, and YAML knows no tabs (load_model_card).
    front = ("\n".join(lines[1:end]) + "\n").replace("- no\n", '- "no"\n').replace("\t", "  ")
    try:
        card = card_yaml.load(front)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        deep = isinstance(error, RecursionError)
        what = "it is nested too deeply" if deep else getattr(error, "problem", None) or str(error).split("\n")[0]
        refused = isinstance(error, card_yaml.Refused)
        raise Error(
            f"the front matter cannot be read: {what}" if refused else f"the front matter is not YAML: {what}",
            path=path,
            line=mark.line + 2 if mark else None,
            column=mark.column + 1 if mark else None,
            source=lines[mark.line + 1][:200] if mark and mark.line + 1 < len(lines) else None,
            hint="fix the text between the two lines '---', or remove it with them",
        ) from None
    return card if isinstance(card, dict) else {}
