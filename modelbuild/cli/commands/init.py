"""Write a ModelBuild.toml for the models of this folder.

Looks for Modelfiles and weights in the folder and its subfolders. Files that cannot be read are left out, with a warning. An
existing ModelBuild.toml is never changed.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelbuild.cli.beginnings import ADAPTER, PART, Found, look
from modelbuild.cli.invocation import GOOD, Invocation
from modelbuild.cli.places import shown_path
from modelbuild.errors import Error, Errors
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.project.discovery import MODEL, PROJECT_FILE, name_after, telling_apart
from modelbuild.session.settings import cache_folder, folder_of
from modelbuild.words import in_line, listed, plural

if TYPE_CHECKING:
    import click


def parameters() -> list[click.Parameter]:
    return []


def run(call: Invocation) -> int:
    folder_of(call.settings)
    folder = os.path.abspath(call.settings.folder)
    path = os.path.join(folder, PROJECT_FILE)
    if os.path.lexists(path):
        raise Error("already exists", path=path, hint="`modelbuild check` checks it")
    found = _without_written(call, folder, look(folder))
    call.report.base = folder
    for error in found.left_out.values():
        call.report.warning(error.replace(what=f"left out: {error.what}"), told=True)
    if not any(found[:3]) and not found.projects:
        raise _nothing(folder, found)
    if found.written:
        call.report.note(f"left out what modelbuild wrote: {listed(map(in_line, found.written))}")
    text = compose(folder, found)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        hint = "make the folder writable, or start in another one with -C"
        raise Error(f"cannot be written: {reason(error)}", path=path, hint=hint) from error
    kinds: list[tuple[str, list[str]]] = [*zip(("Modelfile", "checkpoint", "GGUF file"), found[:3], strict=True)]
    kinds = kinds if any(found[:3]) else [("project", found.projects)]
    counts = ", ".join(plural(len(paths), kind) for kind, paths in kinds if paths)
    if call.report.as_json:
        left_out = [{"path": left, **call.report.described(error)} for left, error in found.left_out.items()]
        call.report.data({"file": path, **found._asdict(), "left_out": left_out})
    else:
        call.report.result(text)
    for fault in _broken(call, path):
        call.report.warning(fault, told=True)
    call.report.note(f"wrote {shown_path(path, os.getcwd())} for {counts}")
    if found.projects and any(found[:3]):
        line = f"include = [{json.dumps(_parts(found.projects))}]"
        call.report.note(f"left out {plural(len(found.projects), 'project')}; to make them parts of this one: {line}")
    left = [path for path in found.projectors if path not in _projectors(found).values()]
    if left and found.ggufs:
        names = listed(map(in_line, left), 4)
        call.report.note(
            f"left out {plural(len(left), 'projector')}: {names}; add to its model: projector = {json.dumps(left[0])}"
        )
    if lines := _adapter_lines(folder, found):
        call.report.note(lines)
    if lines := _foreign_lines(folder, found):
        call.report.note(lines)
    call.report.note(
        "next: `modelbuild list` shows the models, `modelbuild check` checks them, `modelbuild` builds them"
    )
    return GOOD


def _broken(call: Invocation, file: str) -> list[Error]:
    """What keeps models of the new project from being built for now."""
    from modelbuild.cli.fetched import wrong
    from modelbuild.project.broken import told
    from modelbuild.session.session import Session

    session = Session(call.settings._replace(file=file))
    try:
        return told(wrong(session.broken))
    except Errors as errors:
        return list(errors.errors)
    except Error as error:
        return [error]
    finally:
        session.close()


def _adapter_lines(folder: str, found: Found) -> str:
    """What to write for the adapters that no Modelfile uses."""
    used = {os.path.normpath(path) for path in _used(folder, found.modelfiles)}
    wholes = {each: os.path.normpath(os.path.join(folder, each)) for each in found.adapters}
    left = [each for each, whole in wholes.items() if not used & {whole, *(os.path.join(whole, w) for w in ADAPTER)}]
    if not left:
        return ""
    path = json.dumps(left[0], ensure_ascii=False)
    line = f'adapters = [{{ path = {path}, mode = "merge" }}]'
    names = listed(map(in_line, left), 4)
    return f"left out {plural(len(left), 'adapter')}: {names}; add to the model that it was trained on: {line}"


def _foreign_lines(folder: str, found: Found) -> str:
    """What to write for checkpoints of classes that are not supported."""
    from modelbuild.checkpoint import classes
    from modelbuild.checkpoint.checkpoint import Checkpoint
    from modelbuild.checkpoint.config import class_of

    others = []
    for each in found.checkpoints:
        path = os.path.join(folder, each, "config.json")
        with contextlib.suppress(Error, OSError):
            name = class_of(Checkpoint({"config.json": read_plain(path, LARGEST)[0]}.get).config)
            others += [f"{in_line(each)} ({in_line(name)})"] if name not in classes.read() else []
    if not others:
        return ""
    line = '[defaults] convert = ["native", "llama.cpp"], [tools] llama_cpp = "FOLDER", python = "PYTHON"'
    what = f"{plural(len(others), 'checkpoint')} of a class that is not supported: {listed(others, 4)}"
    return f"{what}; let your own llama.cpp convert it: {line}"


def _nothing(folder: str, found: Found) -> Error:
    written = found.written
    if found.adapters and not written:
        return Error(
            "only an adapter is here, and no model",
            path=folder,
            facts=[("found", listed(map(in_line, found.adapters), 4))],
            hint="put the model that it was trained on beside it, or start in the folder above both",
        )
    hint = "put a Modelfile, a GGUF file or a checkpoint folder (config.json, *.safetensors) here first"
    if not written:
        return Error("no Modelfiles and no weights here", path=folder, hint=hint)
    what = f"no Modelfiles and no weights here but what modelbuild wrote: {listed(written)}"
    return Error(
        what, path=folder, hint=f"`modelbuild {shlex.quote('./' + written[0])}` builds a model of it; or {hint}"
    )


def _without_written(call: Invocation, folder: str, found: Found) -> Found:
    """What was found, with the files apart that a build or an export wrote: made of sources, they are none."""
    from modelbuild.engine import database
    from modelbuild.engine.store import Store
    from modelbuild.publish.exported import Exported

    cache = cache_folder(call.settings)
    if not os.path.exists(os.path.join(cache, database.NAME)):
        return found
    store = Store(cache)
    try:
        ours = Exported(store, "").written(
            os.path.join(folder, each) for each in (*found.modelfiles, *found.ggufs, *found.projectors)
        )
    finally:
        store.close()

    def others(paths: Sequence[str]) -> list[str]:
        return [each for each in paths if os.path.join(folder, each) not in ours]

    written = sorted(os.path.relpath(path, folder) for path in ours)
    return found._replace(
        modelfiles=others(found.modelfiles),
        ggufs=others(found.ggufs),
        projectors=others(found.projectors),
        written=written,
    )


def compose(folder: str, found: Found) -> str:
    """The text of the ModelBuild.toml."""
    import tomli_w

    name = _name(os.path.basename(folder)) or "models"
    document: dict[str, Any] = {"project": {"name": name}}
    if not any(found[:3]):
        document["project"]["include"] = [_parts(found.projects)]
    wholes = [os.path.join(folder, path) for path in found.modelfiles]
    template = None if len({name_after(path) for path in wholes}) == len(wholes) else telling_apart(wholes)
    names = {path: name_after(os.path.join(folder, path), template or "{name}") or "" for path in found.modelfiles}
    # What no model can be named after gets a table.
    good = [path for path, own in names.items() if MODEL.fullmatch(own)]
    left = [path for path in (*found.left_out, *found.written) if name_after(os.path.join(folder, path))]
    if (good and good != ["Modelfile"]) or (left and not good):
        document["project"]["modelfiles"] = _patterns(good, left)
        if template:
            document["project"]["discover_as"] = template
    used = set(_used(folder, found.modelfiles))
    taken = {names[path] for path in good}
    models: dict[str, Any] = {}
    for path, own in names.items():
        if path not in good:
            models[_unique(_name(own) or name, {*taken, *models})] = {"modelfile": path}
    drafts, projectors = _drafts(found.ggufs), _projectors(found)
    for path in [*found.checkpoints, *found.ggufs]:
        if path in drafts.values():
            continue
        if os.path.normpath(os.path.join(folder, path)) in used or os.path.dirname(path) in found.checkpoints:
            continue
        model = _unique(_name(_stem(path)) or name, {*taken, *models}, _name(os.path.basename(os.path.dirname(path))))
        models[model] = {"from": "." if path == "." else f"./{path}"}
        if path in found.checkpoints:
            models[model]["quantize"] = "q4_K_M"
        beside = {"projector": projectors.get(path), "draft": drafts.get(path)}
        models[model].update((key, f"./{each}") for key, each in beside.items() if each)
    if models:
        document["model"] = models
    return tomli_w.dumps(document)


def _drafts(paths: Sequence[str]) -> dict[str, str]:
    """GGUF file of a model -> the draft that is named after it, as exports name it (`M-draft`) and as llama.cpp does (`mtp-M`)."""
    whole = {(os.path.dirname(path), _stem(path)): path for path in paths}
    found = {}
    for path in paths:
        stem = _stem(path)
        model = stem.removesuffix("-draft") if stem.endswith("-draft") else stem.removeprefix("mtp-")
        own = whole.get((os.path.dirname(path), model))
        if own is not None and own != path:
            found[own] = path
    return found


def _projectors(found: Found) -> dict[str, str]:
    """GGUF file of a model -> its projector: the only one in its folder that is named after it, or all that is beside it."""
    drafts = _drafts(found.ggufs).values()
    owned = {}
    for path in found.ggufs:
        here = [each for each in found.projectors if os.path.dirname(each) == os.path.dirname(path)]
        models = [each for each in found.ggufs if os.path.dirname(each) == os.path.dirname(path) and each not in drafts]
        named = [each for each in here if _stem(path).casefold().startswith(_named_after(each))]
        fitting = here if len(models) == 1 else named
        if path in models and len(fitting) == 1:
            owned[path] = fitting[0]
    return owned


def _named_after(projector: str) -> str:
    """The model in the name of a projector: `q35` of `q35-mmproj` and `mmproj-q35-f16`; what no name begins with if there is none."""
    words = [each for each in re.split(r"[-.]", _stem(projector).casefold()) if each and each != "mmproj"]
    while words and words[-1] in ("f16", "f32", "bf16", "q8_0"):
        words.pop()
    return "-".join(words) or "/"


def _parts(projects: Sequence[str]) -> str:
    """A glob that takes other projects in as parts."""
    around = {os.path.dirname(os.path.dirname(path)) for path in projects}
    top = os.path.commonpath(around)
    return "/".join([*([top] if top else []), "*" if len(around) == 1 else "**", PROJECT_FILE])


def _patterns(paths: Sequence[str], left: Sequence[str]) -> list[str]:
    """Globs that match the Modelfiles, below the one folder that holds them all; their paths where globs would match those `left` out."""
    if not paths:
        return []
    top = os.path.commonpath([os.path.dirname(path) for path in paths])
    prefix = f"{top}/" if top else ""
    names = [os.path.basename(path) for path in paths]
    kinds = [pattern for pattern in ("Modelfile", "*.Modelfile", "Modelfile.*") if fnmatch.filter(names, pattern)]
    others = [os.path.basename(path) for path in left if path.startswith(prefix)]
    if any(fnmatch.filter(others, pattern) for pattern in kinds):
        return list(paths)
    return [f"{prefix}**/{pattern}" for pattern in kinds]


def _used(folder: str, paths: Sequence[str]) -> Iterator[str]:
    """Absolute paths that the Modelfiles derive from or add."""
    from modelbuild.files import expand, read_plain
    from modelbuild.observed import LIMIT
    from modelbuild.ollama.modelfile import parse

    for path in paths:
        whole = os.path.join(folder, path)
        try:
            read = parse(read_plain(whole, LIMIT)[0], path)
            for command in (*read.from_, *read.adapters, *read.drafts):
                yield expand(command.value, os.path.dirname(whole))
        except (Error, OSError):
            continue


def _stem(path: str) -> str:
    base = os.path.basename(path)
    if part := PART.fullmatch(base):
        return part[1]
    return base.removesuffix(".gguf")


def _name(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_.-]+", "-", plain.casefold()).strip("-.")


def _unique(name: str, taken: Collection[str], folder: str = "") -> str:
    """A name that no model has yet, after the folder too where the name alone is taken."""
    folded = {each.casefold() for each in taken}
    found, number = name, 2
    if found in folded:
        found = f"{folder}-{name}" if folder else f"{name}-weights"
    while found in folded:
        found, number = f"{name}-{number}", number + 1
    return found
