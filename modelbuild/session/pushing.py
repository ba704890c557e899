"""What a push means: which models are pushed, and to which names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelbuild.engine.graph import Output
from modelbuild.errors import Error, Errors
from modelbuild.files import LARGEST, read_plain, reason
from modelbuild.ollama.library import Library
from modelbuild.ollama.name import HOST, Name
from modelbuild.project.broken import told
from modelbuild.project.pushes import check_entry
from modelbuild.project.variant import PushTo
from modelbuild.publish.installed import absent
from modelbuild.session.models_root import models_root
from modelbuild.session.session import Selection, Session
from modelbuild.session.settings import Settings, folder_of
from modelbuild.tuples import NamedTuple
from modelbuild.words import listed

if TYPE_CHECKING:
    from modelbuild.registry.local_blob import Blob


class Order(NamedTuple):
    """A model to push.

    label   what it was asked for by: a variant, or a name of the models folder
    source  the name (`host/namespace/model/tag`) that its manifest lies under
    to      the name to push to
    shape   the shape that it is pushed in, "" for Ollama's own form; and `split`, how its files are split then
    """

    label: str
    source: str
    to: Name
    shape: str = ""
    split: str = ""


class Asked(NamedTuple):
    """What is asked of a push besides its words.

    to     the name to push to, instead of those of `push`
    shape  the shape to push in; without `to`, of the names of `push` those that say it
    split  how its files are split then
    """

    to: str | None = None
    shape: str = ""
    split: str = ""


class Orders(NamedTuple):
    """What is to be pushed.

    library    the models folder that the manifests and blobs come from
    selection  the variants of the project among them, which must be built first; None without any
    skipped    labels of the variants that have no name to be pushed to
    """

    library: Library
    orders: Sequence[Order]
    selection: Selection | None = None
    skipped: Sequence[str] = ()


def is_project(settings: Settings) -> bool:
    """Whether a command has a project: one is named, or lies around the folder that it works in."""
    from modelbuild.project.discovery import find

    return settings.file is not None or find(folder_of(settings)) is not None


def without_project(settings: Settings, words: Sequence[str], asked: Asked) -> Orders:
    """What words mean where there is no project: names of the models folder. Raises Error and Errors."""
    library = Library(models_root(settings))
    return _addressed(Orders(library, [_installed(library, word) for word in words]), asked)


def of_project(session: Session, words: Sequence[str], asked: Asked) -> Orders:
    """What words mean in a project: its targets, else names of its models folder. Raises Error and Errors."""
    library, known = session.models.library, session.words()
    targets = [word for word in words if known.resolve(word) is not None]
    orders: list[Order] = []
    unknown: list[Error] = []
    for word in words:
        try:
            orders += [] if word in targets else [_installed(library, word)]
        except Error as error:
            meant = known.unknown(word)
            what = f"{meant.what}, and no name in its models folder"
            unknown.append(meant.replace(what=what, facts=[*meant.facts, *error.facts]))
    if unknown:
        raise Errors(unknown)
    if words and not targets:
        return _addressed(Orders(library, orders), asked)
    found = _of_targets(session, targets, asked)
    return _addressed(found._replace(orders=[*found.orders, *orders]), asked)


def _of_targets(session: Session, targets: Sequence[str], asked: Asked) -> Orders:
    """The orders for targets, each to the names that its variants say. Raises Error and Errors."""
    selection = session.select(targets)
    if selection.broken:
        raise Errors(told(selection.broken))
    if not selection.outputs:
        raise selection.empty()
    variants = {variant.label: variant for variant in session.project.variants}
    orders: list[Order] = []
    for output in selection.outputs:
        variant = variants[output.label]
        goes = _goes(output, variant.pushes, asked, owned=not session.project.is_unowned(variant))
        orders += [Order(output.label, _source(to.name, output.names), *to) for to in goes]
    taken = list(dict.fromkeys(order.label for order in orders))
    skipped = [output.label for output in selection.outputs if output.label not in taken]
    # What is not pushed need not be built for it.
    chosen = session.select(taken) if taken and skipped else selection
    return Orders(session.models.library, orders, chosen if taken else None, skipped)


def _goes(output: Output, said: Sequence[PushTo], asked: Asked, *, owned: bool) -> Sequence[PushTo]:
    """Where a variant is pushed to; `owned` says whether the namespace of its names is anybody's."""
    own = [Name.from_path(path) for path in output.names]
    if asked.to is not None:
        return [PushTo(own[0], asked.shape, asked.split)]
    if asked.shape:
        return [to for to in said if to.shape == asked.shape]
    return said or [PushTo(name) for name in own if name.unpushable() is None and (owned or name.host.lower() != HOST)]


def _source(name: Name, names: Sequence[str]) -> str:
    """The name of a variant whose manifest is pushed: that name itself, if it is one of its own."""
    return name.path() if name.path() in names else names[0]


def _installed(library: Library, word: str) -> Order:
    """An order for a name of the models folder, to be pushed to itself. Raises Error where it stands for nothing."""
    name = Name.parse(word)
    if library.served(name.path()) is None:
        raise absent(library, word)
    return Order(name.display(), name.path(), name)


def _addressed(found: Orders, asked: Asked) -> Orders:
    """The orders with what `--to` says. Raises Error where there is nothing to push, or a name cannot be pushed to."""
    orders, to = found.orders, asked.to
    made = found.selection.outputs if found.selection else ()
    if asked.shape and (others := [order for order in orders if order.label not in {each.label for each in made}]):
        name = others[0].label
        what = f"'{name}' cannot be pushed as '{asked.shape}': it is a name of the models folder, not a target"
        raise Error(what, hint=f'make a model of it in ModelBuild.toml: from = "{name}"')
    if to is not None:
        if len(orders) != 1:
            shown = listed(f"'{order.label}'" for order in orders)
            hint = "name one model, or give each its own `push` in ModelBuild.toml"
            raise Error(f"--to names one model, but {len(orders)} match: {shown}", hint=hint)
        orders = [orders[0]._replace(to=Name.parse(to))]
    if not orders:
        raise _nowhere(found.skipped, asked.shape)
    for order in orders:
        if (fault := order.to.unpushable()) is not None:
            to = f"{order.to.model}:{order.to.tag}".removesuffix(":latest")
            hint = (
                f"`modelbuild push {order.label} --to USER/{to}`, with your user name of ollama.com; "
                f"at another registry: --to HOST/NAMESPACE/{to}"
            )
            raise fault.replace(hint=hint)
        check_entry(PushTo(order.to, order.shape, order.split))
    return found._replace(orders=_once(orders))


def _once(orders: Iterable[Order]) -> list[Order]:
    """Each order once, whichever words asked for it."""
    return list({(order.source, order.to): order for order in orders}.values())


def _nowhere(skipped: Sequence[str], shape: str) -> Error:
    labels, verb = listed(f"'{label}'" for label in skipped), "has" if len(skipped) == 1 else "have"
    hint = "name where to with --to NAME, or with `push` in ModelBuild.toml"
    if shape:
        hint += f': {{ to = "HOST/NAMESPACE/MODEL", as = "{shape}" }}'
    return Error(f"nothing to push: {labels} {verb} {why_skipped(shape, skipped)}", hint=hint)


def why_skipped(shape: str, labels: Sequence[str]) -> str:
    """What variants that are not pushed lack."""
    if shape:
        return f"no `push` as '{shape}'"
    # Only those of parts have a namespace, which is the part's name.
    of_parts = any("/" in label for label in labels)
    return "no `push`, and no namespace" + (" but a part's name" if of_parts else " in the name")


def content(session: Session | None, library: Library, order: Order) -> tuple[bytes, Mapping[str, Blob]]:
    """The bytes of the manifest that is pushed, and by digest the blobs that are no files of the models folder. Raises Error."""
    if session is None or not order.shape:
        return manifest(library, order.source), {}
    from modelbuild.session.artifacts import packed

    output = next(each for each in session.graph.outputs if each.label == order.label)
    return packed(session, output, order.shape, order.split)


def manifest(library: Library, source: str) -> bytes:
    """The bytes of a manifest as they lie in a models folder. Raises Error."""
    path = library.manifest_path(source)
    try:
        return read_plain(path, LARGEST)[0]
    except OSError as error:
        raise Error(f"cannot be read: {reason(error)}", path=path, hint="build or pull the model again") from None
