"""The events that `--json` prints, one object a line: their members, as a JSON Schema. docs/events.md is for people.

A member or an event that is added keeps the version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelbuild.cli.report import VERSION
from modelbuild.tuples import NamedTuple

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "number", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
DIGEST: Schema = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
ERROR: Schema = {**TEXT, "description": "An error as people read it, with its hint."}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _words(*words: str) -> Schema:
    return {"enum": list(words)}


def _object(members: Mapping[str, Schema], *optional: str) -> Schema:
    required = [name for name in members if name not in optional]
    return {"type": "object", "properties": dict(members), "required": required}


REASON = _object({"field": TEXT, "before": TEXT, "after": TEXT})
CAUSE = _object(
    dict.fromkeys(("what", "verb", "place", "before", "after", "step"), TEXT), "place", "before", "after", "step"
)
WHY: dict[str, Schema] = {
    "because": {"type": "array", "items": REASON},
    "causes": {"type": "array", "items": CAUSE},
}
STEP: dict[str, Schema] = {"step": TEXT, "kind": TEXT, "targets": TEXTS}
FOREIGN: Schema = {**FLAG, "description": "A program of the user's own makes it."}
TENSOR = _object({"name": TEXT, "type": TEXT, "shape": {"type": "array", "items": COUNT}})
TIMING: dict[str, Schema] = {
    "prompt_tokens": _or_null(COUNT),
    "prompt_seconds": _or_null(SECONDS),
    "tokens": _or_null(COUNT),
    "seconds": _or_null(SECONDS),
}


class Kind(NamedTuple):
    """An event: what it says, its members, and those of them that it does not always have."""

    text: str
    members: Mapping[str, Schema]
    optional: tuple[str, ...] = ()


_TROUBLE: dict[str, Schema] = {"message": TEXT, "place": _or_null(TEXT), "text": ERROR}

EVENTS: dict[str, Kind] = {
    "fetch": Kind(
        "A model or a checkpoint of elsewhere is pulled, or would be.",
        {"name": TEXT, "kind": _words("model", "checkpoint"), "pin": _or_null(TEXT), "state": _words("would-fetch")},
        ("kind", "pin", "state"),
    ),
    "fetched": Kind(
        "It is here.", {"name": TEXT, "pin": TEXT, "bytes": _or_null(COUNT), "received": COUNT}, ("received",)
    ),
    "pinned": Kind("The lock pins it from now on.", {"name": TEXT, "pin": TEXT}),
    "hashing": Kind("Large files are read that are new or have changed.", {"files": COUNT, "bytes": COUNT}),
    "broken": Kind(
        "A target cannot be planned.",
        {"label": TEXT, "model": _or_null(TEXT), "names": TEXTS, "error": ERROR},
    ),
    "waiting": Kind("Another process holds the cache or a models folder.", {"path": TEXT}),
    "distrust": Kind("The records of the cache are wrong, and everything is rebuilt.", {"path": TEXT}),
    "unjudged": Kind("A GGUF file was not checked.", {"path": TEXT, "architecture": TEXT}),
    "start": Kind("A step begins.", {**STEP, **WHY}, ("because", "causes")),
    "tool": Kind(
        "A program of the user's own has run; whether it could use the network, write other files and leave processes behind.",
        {"step": TEXT, "tool": TEXT, "network": FLAG, "files": FLAG, "processes": FLAG, "log": TEXT},
    ),
    "step": Kind(
        "A step is over, or would run.",
        {
            **STEP,
            "state": _words("ran", "hit", "failed", "skipped", "would-run", "would-maybe", "would-fetch"),
            "seconds": SECONDS,
            "digest": _or_null(DIGEST),
            "error": ERROR,
            "foreign": FOREIGN,
            "bytes": COUNT,
            **WHY,
        },
        ("bytes", "seconds", "digest", "error", "foreign", "because", "causes"),
    ),
    "cluster": Kind(
        "A cluster runs what takes long: the workers that it has now, and how many actions they run at once.",
        {"scheduler": TEXT, "workers": COUNT, "threads": COUNT},
    ),
    "brought": Kind("What a step makes came from the remote cache.", {"step": TEXT, "digest": DIGEST, "bytes": COUNT}),
    "gathered": Kind(
        "Tensors that a step needs came from the remote cache, and the bytes that were asked for.",
        {"step": TEXT, "tensors": COUNT, "bytes": COUNT},
    ),
    "shared": Kind(
        "What was exchanged with the remote cache, at the end: results, and the bytes of their files.",
        {"remote": TEXT, **dict.fromkeys(("fetched", "bytes_fetched", "sent", "bytes_sent", "left"), COUNT)},
    ),
    "remote-lost": Kind(
        "The remote cache is not used any more in this build.",
        {"remote": TEXT, "direction": _words("read", "write"), "error": ERROR},
    ),
    "remote-fault": Kind(
        "The remote cache failed too rarely to be given up. The first fault is told at the end.",
        {"remote": TEXT, "direction": _words("read", "write"), "error": ERROR},
    ),
    "unsigned": Kind(
        "The remote cache has results that no key of `trust` signed: they are passed over.", {"remote": TEXT}
    ),
    "changed": Kind(
        "A step became what it is, in the last build that changed something.",
        {**STEP, "at": SECONDS, "foreign": FOREIGN, **WHY},
        ("foreign",),
    ),
    "variant": Kind(
        "A name is in the models folder.",
        {"name": TEXT, "label": TEXT, "manifest": DIGEST, "changed": FLAG, "causes": WHY["causes"]},
        ("causes",),
    ),
    "unpublished": Kind(
        "A finished model could not be put into the models folder, or written.",
        {"label": TEXT, "names": TEXTS, "error": ERROR},
    ),
    "file": Kind(
        "A file outside the models folder is written, or would be.",
        {"path": TEXT, "label": TEXT, "bytes": COUNT, "changed": FLAG, "state": _words("would-write", "would-maybe")},
        ("bytes", "changed", "state"),
    ),
    "stale": Kind("What the project wrote and no longer declares.", {"names": TEXTS, "files": TEXTS}),
    "taken": Kind(
        "Names that another project wrote last, each with its file.",
        {"names": {"type": "object", "additionalProperties": TEXT}, "models": TEXT},
    ),
    "replaced": Kind(
        "Blobs of the models folder that were damaged or changed, and were made again.",
        {"blobs": {"type": "array", "items": DIGEST}, "models": TEXT},
    ),
    "warning": Kind("Something is worth knowing.", _TROUBLE),
    "note": Kind("The same of less weight, with -v.", _TROUBLE),
    "error": Kind("Something is wrong.", _TROUBLE),
    "forecast": Kind(
        "A model that would be built.",
        {
            "label": TEXT,
            "name": TEXT,
            "model_bytes": _or_null(COUNT),
            "tensors": {"type": "array", "items": TENSOR},
        },
    ),
    "sent": Kind(
        "A name was sent to a server.",
        {
            "server": TEXT,
            "name": TEXT,
            "state": _words("unchanged", "sent", "different"),
            "ours": TEXT,
            "digest": TEXT,
            "differs": TEXTS,
        },
    ),
    "summary": Kind(
        "The build is over.",
        dict.fromkeys(("ran", "hit", "failed", "skipped", "tensors_computed", "tensors_reused", "bytes_written"), COUNT)
        | {"seconds": SECONDS},
    ),
    "round": Kind(
        "A round of a watch begins.",
        {
            "time": TEXT,
            "changed": {"type": "object", "additionalProperties": _words("changed", "added", "removed")},
            "restarted": {**FLAG, "description": "Whether the build before was ended."},
        },
    ),
    "superseded": Kind("A build is ended without a summary: a file that it is made of has changed.", {}),
    "answer": Kind(
        "A model has answered.",
        {
            **dict.fromkeys(("name", "runner", "template", "prompt", "answer"), TEXT),
            "thought": _or_null(TEXT),
            **TIMING,
        },
    ),
    "pull": Kind(
        "A name is in the models folder, by `pull`.",
        {"name": TEXT, "manifest": DIGEST, "state": _words("pulled", "unchanged"), "bytes": COUNT, "received": COUNT},
    ),
    "pulled": Kind(
        "`pull` is over.",
        dict.fromkeys(("pulled", "unchanged", "failed", "bytes_received"), COUNT) | {"seconds": SECONDS},
    ),
    "push": Kind(
        "A name is in its registry, by `push`.",
        {
            "label": TEXT,
            "name": TEXT,
            "manifest": DIGEST,
            "state": _words("pushed", "unchanged"),
            "uploaded": COUNT,
            "mounted": COUNT,
            "as": {**TEXT, "description": "The shape, if it is another than Ollama's."},
        },
        ("as",),
    ),
    "pushed": Kind(
        "`push` is over.", dict.fromkeys(("pushed", "unchanged", "bytes_sent"), COUNT) | {"seconds": SECONDS}
    ),
}


def json_schema() -> Schema:
    """The schema of one event. Those of later versions of modelbuild may have more members, and there may be others."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of modelbuild",
        "description": "`modelbuild --json` prints one of these objects a line.",
        **_object({"v": {"const": VERSION}, "event": TEXT}),
        "oneOf": [
            *({"$ref": f"#/$defs/{name}"} for name in EVENTS),
            {"properties": {"event": {"not": {"enum": list(EVENTS)}}}},
        ],
        "$defs": {name: _definition(name, kind) for name, kind in EVENTS.items()},
    }


def _definition(name: str, kind: Kind) -> Schema:
    found = _object({"v": {"const": VERSION}, "event": {"const": name}, **kind.members}, *kind.optional)
    return {"description": kind.text, **found}
