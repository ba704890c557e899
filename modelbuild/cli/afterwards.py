"""The end of a build: where the models are, how to run one, and whether the local server lists them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from modelbuild.errors import Error
from modelbuild.ollama import server
from modelbuild.ollama.name import displayed
from modelbuild.publish.writable import owner
from modelbuild.session.running import answers, asked
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.checkpoint.chat import Answers
    from modelbuild.cli.invocation import Invocation
    from modelbuild.session.session import Selection

MOST = 5
"""Names that a warning shows, and models that are looked at for one that makes text."""


def say(call: Invocation, selection: Selection, published: Mapping[str, str]) -> None:
    """Print the end of a build that put models into the models folder, name -> manifest."""
    report, models = call.report, call.session.models
    names = by_shortest((each.names for each in selection.outputs), published)
    # As they were given: a watch goes by absolute paths.
    given = report.options
    found_by = [word for at, word in enumerate(given) if given[at & ~1] != "-t"]
    made = partial(answers, models.library)
    line, warning = said(models.root, names, made=made, options=found_by, offline=call.settings.offline)
    report.note_once(line)
    if warning is not None:
        report.warning(warning)


def by_shortest(models: Iterable[Sequence[str]], published: Mapping[str, str]) -> dict[str, str]:
    """For `said`: of each model that was published the name that is shortest to type, those without a tag first."""
    found = {}
    for names in models:
        if manifest := next((published[name] for name in names if name in published), None):
            found[next((name for name in names if name.endswith("/latest")), names[0])] = manifest
    return dict(sorted(found.items(), key=lambda each: not each[0].endswith("/latest")))


def said(
    folder: str,
    built: Mapping[str, str],
    *,
    made: Callable[[str], Answers] = lambda name: "text",
    options: Sequence[str] = (),
    offline: bool = False,
) -> tuple[str, Error | None]:
    """A line, and a warning if one is needed. `built` are the names (`host/namespace/model/tag`), each with its manifest.

    made     what the model of a name makes
    options  by which another command finds the project and the folder
    offline  ask no server, not even one of this machine
    """
    looked_at = list(built)[:MOST]
    talking = next((name for name in looked_at if made(name) == "text"), None)
    first = displayed(talking or looked_at[0]).removesuffix(":latest")
    home = os.path.expanduser("~")
    at = None if offline else server.address(os.environ.get("OLLAMA_HOST"))
    serves = server.listed(at) if at is not None else None
    unseen = _unseen(folder, built, at, serves) if at is not None and serves is not None else None
    shown = "~" + folder[len(home) :] if folder.startswith(home + os.sep) else folder
    warning = unseen or (_of_another(folder) if serves is None else None)
    if talking is None:
        other = made(looked_at[0])
        return f"in {shown}; {first} makes {other}, not text; {asked(other, first)}", warning
    ways = [shlex.join(["modelbuild", *options, "run", first])]
    if serves is not None and unseen is None:
        ways.append(f"ollama run {first}")
    line = f"in {shown}; {'try it' if len(built) == 1 else 'try one'}: {', or '.join(ways)}"
    return line, warning


def _unseen(folder: str, built: Mapping[str, str], at: server.Address, serves: Mapping[str, str]) -> Error | None:
    """The warning if a server does not list a built model, or lists another model by its name."""
    digests = {displayed(name): manifest.removeprefix("sha256:") for name, manifest in built.items()}
    missing = [name for name in digests if name.casefold() not in serves]
    if missing:
        what = f"does not list {_quoted(missing)}, so `ollama run` would try to pull it"
    else:
        others = [name for name, digest in digests.items() if serves[name.casefold()] not in ("", digest)]
        if not others:
            return None
        what = f"lists a different {_quoted(others)}"
    user = owner(server.SERVICE_FOLDER)
    theirs = f" (the Linux service's is {server.SERVICE_FOLDER})" if folder != server.SERVICE_FOLDER else ""
    way = f"sudo {f'-u {user} ' if user else ''}modelbuild --models FOLDER"
    name = next(iter(digests)).removesuffix(":latest")
    return Error(
        f"the Ollama server at {at} {what}: it reads another models folder",
        facts=[("built into", folder)],
        hint=f"send it there: `modelbuild --ollama {name}`; or build into its folder{theirs}: {way}; "
        f"or start a server on this one: {_serve(folder)}",
    )


def _of_another(folder: str) -> Error | None:
    """The warning if a models folder belongs to another user, whose server can neither replace nor remove our files."""
    user = owner(folder) if os.geteuid() != 0 else None
    if user is None:
        return None
    what = f"the models folder belongs to '{user}', but the new files belong to you: that user's server cannot replace them"
    return Error(
        what,
        path=folder,
        hint=f"build into your own folder, and send the models: `modelbuild --ollama`; or build as that user (sudo -u {user} modelbuild …)",
    )


def _quoted(names: Iterable[str]) -> str:
    return listed((f"'{name}'" for name in names), MOST)


def _serve(folder: str) -> str:
    return f"OLLAMA_MODELS={shlex.quote(folder)} ollama serve"
