"""`publisher/model/*.gguf`, the folders that LM Studio looks for models in (LM Studio, "Import Models", and `lms import`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelbuild.shapes import _names
from modelbuild.shapes._finished import MERGE, Entry, Finished, entries, numbered, refuse

LEAVES_OUT = {
    "draft": "LM Studio takes a draft from among its models: export that as a model of its own, and choose it there"
}


def tree(models: Sequence[Finished], folder: str) -> Iterator[Entry]:
    stems = _names.typed(models)
    seen: set[tuple[str, str]] = set()
    for model in models:
        refuse(model, "LM Studio", {"adapter": MERGE})
        home = f"{_names.publisher(model)}/{_names.safe(model.name.model)}/"
        yield from entries(home, stems[model.label], model.model, model.label)
        for projector, number in numbered(model, ["projector"]):
            # LM Studio takes a file for a projector by this word; the variants of a model share theirs.
            path = home + "-".join(filter(None, ["mmproj", _names.safe(model.name.model), number]))
            if (path, projector.digest) not in seen:
                path += f"-{stems[model.label]}" if any(path == other for other, _ in seen) else ""
                seen.add((path, projector.digest))
                yield Entry(path + ".gguf", projector.copy, model.label)


def said(models: Sequence[Finished], folder: str) -> str:
    return f"in LM Studio: choose {folder} as the folder of models (My Models)"
