"""What a project says of programs of the user's own: where they are, and what they are to make."""

from __future__ import annotations

from collections.abc import Mapping

from modelbuild.files import expand
from modelbuild.project import allowed
from modelbuild.project.texts import Texts
from modelbuild.project.toml import Toml
from modelbuild.project.values import Values
from modelbuild.project.variant import Calibration, File, Gate, Tools
from modelbuild.words import as_text


def read(declared: Toml, texts: Texts, above: Tools | None = None) -> Tools:
    """The programs of [tools]; those that a part does not name are those of the project `above` it."""
    table, here = declared.table("tools"), declared.top.at("tools")
    found: dict[str, File | None] = {}
    for name in Tools._fields:
        text = declared.string(table, name, here)
        if text:
            place = here.at(name)
            folder = texts.folder(place)
            found[name] = File(expand(text, folder), text, folder, place)
    return (above or Tools())._replace(**found)


def converters(values: Values) -> tuple[str, ...]:
    """The converters that are tried, in order; ours alone where nobody says any."""
    found = []
    if "convert" in values.said and isinstance(values.said["convert"].value, list):
        items, place = values.said["convert"]
        found = [values.checked(each, place.at(number), allowed.converter) for number, each in enumerate(items)]
    return tuple(dict.fromkeys(each for each in found if each)) or allowed.CONVERTERS[:1]


def calibration(values: Values) -> Calibration | None:
    """The text that the importance matrix is made from; None where it is a file, or there is none."""
    said = values.said.get("imatrix")
    if said is None or not isinstance(said.value, Mapping):
        return None
    text = values.path(said.value["text"], said.place.at("text"))
    if text is None:
        values.problems.add(said.place.at("text").error("'text' expects the path of a text", value=False))
        return None
    return Calibration(text, values.checked(said.value.get("chunks", ""), said.place.at("chunks"), allowed.chunks))


def gate(values: Values) -> Gate | None:
    """The most that the model may differ from its weights; None where nobody cares."""
    said = values.entries_of("gate")
    kld = values.checked(*said["kld"], allowed.divergence) if "kld" in said else None
    if kld is None:
        return None
    text = values.path(*said["text"]) if "text" in said and as_text(said["text"].value) else None
    chunks = values.checked(*said["chunks"], allowed.chunks) if "chunks" in said else None
    return Gate(kld, text, chunks)
