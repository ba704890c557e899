"""Checkpoints from Hugging Face, by huggingface_hub: which commit a revision means, and the files of it that a conversion reads."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelbuild import interrupt
from modelbuild.checkpoint import hf_cache, shards
from modelbuild.checkpoint.checkpoint import SIZE_LIMIT
from modelbuild.checkpoint.hf_repository import Repository, is_commit
from modelbuild.errors import Error
from modelbuild.files import free, make_folder, reason
from modelbuild.tuples import NamedTuple
from modelbuild.words import shown, size

if TYPE_CHECKING:
    from modelbuild.engine.store import Store

Hear = Callable[[dict[str, Any]], None]
"""Told `download` (file, number, count) before each file."""


AT_ONCE = 4
"""Files that are downloaded at once."""

_PLAIN = re.compile(r'(?:W/)?"?[0-9A-Za-z][0-9A-Za-z._-]{0,127}"?')


class Contents(NamedTuple):
    """What a repository holds at a revision: the commit that this is, the names of its files, and their sizes as far as they are said."""

    commit: str
    files: Sequence[str]
    sizes: Mapping[str, int] = {}

    @property
    def is_checkpoint(self) -> bool:
        """Whether there are weights in safetensors: the one kind that is converted."""
        return any(
            each.startswith("model") and each.endswith(".safetensors") and "/" not in each for each in self.files
        )

    @property
    def has_ggufs(self) -> bool:
        return any(each.lower().endswith(".gguf") for each in self.files)


def is_installed() -> bool:
    """Whether the package is there."""
    from importlib.util import find_spec

    return find_spec("huggingface_hub") is not None


def contents(repository: Repository, revision: str | None = None) -> Contents:
    """Ask what a repository holds, at its own revision or another one. Raises Error."""
    with _said(repository):
        from huggingface_hub import HfApi

        api = HfApi(os.environ.get("HF_ENDPOINT"), library_name="modelbuild")
        try:
            found = api.model_info(repository.id, revision=revision or repository.revision, files_metadata=True)
            commit, siblings = found.sha or "", found.siblings or ()
            files = [str(each.rfilename) for each in siblings]
            sizes = {name: each.size for name, each in zip(files, siblings, strict=True) if type(each.size) is int}
        except (TypeError, AttributeError, LookupError, RecursionError, json.JSONDecodeError):
            what = f"Hugging Face gave an answer for '{repository.key}' that cannot be read"
            raise Error(what, hint="check $HF_ENDPOINT and the proxies, and try again") from None
    if not is_commit(commit):
        raise Error(
            f"Hugging Face names no commit for '{repository.key}', got '{shown(commit)}'", hint="try again later"
        )
    return Contents(commit, files, sizes)


def download(repository: Repository, found: Contents, store: Store, hear: Hear) -> None:
    """Have the files of a commit in the cache of Hugging Face that a conversion reads, and marks for those that do not exist.

    Raises Error. The weights come last, so that a download which ends early is not taken for a whole one; the next one goes
    on with it.
    """
    home = hf_cache.home(os.environ.get)
    with store.lock(f"hf:{repository.id.lower().replace('/', '--')}"), _said(repository):
        small = _small(found.files)
        snapshot = hf_cache.snapshot_of(home, repository, found.commit)
        _fetch(repository, found.commit, small, home, hear)
        if "modules.json" in small:
            # The folder of the pooling may have another name than the usual one.
            pooling = shards.pooling(lambda name: _begin(os.path.join(snapshot.folder, name), SIZE_LIMIT))
            if pooling in found.files and pooling not in small:
                _fetch(repository, found.commit, [pooling], home, hear)
        index = None
        if shards.INDEX in small:
            index = _begin(os.path.join(snapshot.folder, shards.INDEX), shards.INDEX_LIMIT + 1)
        try:
            weights = shards.weights([name for name in found.files if "/" not in name], index, repository.name)
        except Error as error:
            raise error.replace(what=f"'{repository.key}': {error.what}", path=None) from None
        _check_space(home, repository, snapshot.folder, {name: found.sizes.get(name, 0) for name in weights})
        _mark(snapshot, found.files)
        _fetch(repository, found.commit, weights, home, hear)
        if not is_commit(repository.revision or ""):
            _note(home, repository, found.commit)


def _begin(path: str, limit: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(limit)


def _small(files: Sequence[str]) -> list[str]:
    """The small files of a repository that decide a conversion."""
    templates = [name for name in files if os.path.dirname(name) == hf_cache.TEMPLATES and name.endswith(".jinja")]
    wanted = [*shards.FILES, *shards.IMAGES, *shards.SOMETIMES, shards.POOLING, *templates]
    return [name for name in dict.fromkeys(wanted) if name in set(files)]


def _fetch(repository: Repository, commit: str, names: Sequence[str], home: str, hear: Hear) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    _watch_etags()
    if not sys.stderr.isatty():
        disable_progress_bars()
    numbered = iter(enumerate(names, 1))
    mutex = threading.Lock()

    def next_() -> str | None:
        with mutex:
            number, name = next(numbered, (0, None))
            if name is not None:
                hear({"event": "download", "file": name, "number": number, "count": len(names)})
            return name

    def fetch(name: str) -> None:
        path = hf_cache.snapshot_of(home, repository, commit).folder + "/" + name
        was_there = os.path.exists(path)
        hf_hub_download(
            repository.id,
            name,
            revision=commit,
            cache_dir=home,
            endpoint=os.environ.get("HF_ENDPOINT"),
            library_name="modelbuild",
        )
        if not was_there:
            _check(path, name)

    _several(fetch, next_, min(AT_ONCE, len(names)))


def _several(fetch: Callable[[str], None], next_: Callable[[], str | None], count: int) -> None:
    """Fetch files in so many threads, until there is no next one. Raises the first fault, and no more are begun."""
    faults: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            while not ended.is_set() and (name := next_()) is not None:
                fetch(name)
        except BaseException as fault:
            faults.append(fault)
            ended.set()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not faults:
            interrupt.check()
            next(thread for thread in threads if thread.is_alive() or thread is threads[-1]).join(0.1)
    finally:
        ended.set()
    if faults:
        raise faults[0]


def _check_space(home: str, repository: Repository, snapshot: str, sizes: Mapping[str, int]) -> None:
    """Raise an Error where the weights that are not there yet have no room; what a former download left of them counts as there."""
    needed = sum(count for name, count in sizes.items() if not os.path.exists(os.path.join(snapshot, name)))
    blobs = os.path.join(hf_cache.repository_folder(home, repository), "blobs")
    with contextlib.suppress(OSError), os.scandir(blobs) as scan:
        needed -= sum(entry.stat().st_blocks * 512 for entry in scan if entry.name.endswith(".incomplete"))
    left = free(home)
    if left is not None and needed > left:
        what = f"no space for the weights: they need {size(needed)}, and {size(left)} are free"
        raise Error(what, path=home, hint="free some space, or name another folder in $HF_HOME")


@cache
def _watch_etags() -> None:
    """Refuse answers whose ETag is no plain name: huggingface_hub makes it the path of a file, wherever that leads."""
    hub: Any = import_module("huggingface_hub")
    http: Any = import_module("huggingface_hub.utils._http")

    def check(answer: Any, *_: Any, **__: Any) -> None:
        for etag in (answer.headers.get("X-Linked-Etag"), answer.headers.get("ETag")):
            if answer.request.method == "HEAD" and etag is not None and not _PLAIN.fullmatch(etag):
                what = f"Hugging Face names a file by an ETag that is no plain name: '{shown(etag)}'"
                raise Error(what, hint="a proxy or $HF_ENDPOINT changes what it sends")

    def client() -> Any:
        made = http.default_client_factory()
        made.event_hooks["response"].append(check)
        return made

    def session() -> Any:
        made = http._default_backend_factory()
        made.hooks["response"].append(check)
        return made

    if hasattr(hub, "set_client_factory"):
        hub.set_client_factory(client)
    else:
        # Before its version 1.
        hub.configure_http_backend(session)


def _check(path: str, name: str) -> None:
    """Raise an Error, and remove the file, where its bytes are not those of its digest.

    The library looks at sizes alone. It names a blob after its ETag: the sha256 of a large file, git's sha1 of a small one.
    """
    blob = os.path.realpath(path)
    expected = os.path.basename(blob)
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", expected):
        return
    with open(blob, "rb") as file:
        if len(expected) == 64:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            data = file.read()
            got = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    if got != expected:
        os.unlink(path)
        os.unlink(blob)
        facts = [("expected", expected), ("got", got)]
        hint = "build again; if it stays so, a proxy or $HF_ENDPOINT changes what it sends"
        raise Error(f"'{name}' has other bytes than its digest says; it was removed", facts=facts, hint=hint)


def _mark(snapshot: hf_cache.Snapshot, files: Sequence[str]) -> None:
    """Say in the cache which files do not exist, as huggingface_hub says it where it was told so (file_download.py)."""
    folders = {name.partition("/")[0] for name in files}
    for name in (*shards.FILES, hf_cache.TEMPLATES, *shards.SOMETIMES):
        path = os.path.join(snapshot.missing, name)
        if name not in folders:
            make_folder(os.path.dirname(path))
            with open(path, "ab"):
                pass


def _note(home: str, repository: Repository, commit: str) -> None:
    """Say in the cache which commit a revision means, as huggingface_hub does."""
    refs = os.path.join(hf_cache.repository_folder(home, repository), "refs")
    path = os.path.join(refs, *(repository.revision or "main").split("/"))
    make_folder(os.path.dirname(path))
    # Beside the folder of names: each file in there is a revision.
    new = f"{refs}.{os.getpid()}.new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(commit)
    os.replace(new, path)


@contextlib.contextmanager
def _said(repository: Repository) -> Iterator[None]:
    """Say in our words what huggingface_hub raises. Its own texts are long, and may hold URLs with secrets."""
    try:
        from huggingface_hub import errors
    except ImportError:
        what = f"weights from Hugging Face need the package huggingface_hub: '{repository.key}'"
        raise Error(what, hint="pip install 'modelbuild[hf]'") from None
    named = f"'{repository.key}'"
    try:
        yield
    except errors.GatedRepoError:
        page = f"https://huggingface.co/{repository.id}"
        hint = f"accept its terms at {page}, and name a token in $HF_TOKEN or by `hf auth login`"
        raise Error(f"access to {named} has to be granted", hint=hint) from None
    except errors.RevisionNotFoundError:
        what = f"the repository '{repository.id}' has no revision '{repository.revision or 'main'}'"
        raise Error(what, hint="name a branch, a tag or a commit of it") from None
    except errors.RepositoryNotFoundError:
        hint = "check the name; a private repository needs a token in $HF_TOKEN"
        raise Error(f"{named} is not known to Hugging Face", hint=hint) from None
    except errors.OfflineModeIsEnabled:
        raise Error(f"{named} is not downloaded, and $HF_HUB_OFFLINE is set", hint="build once without it") from None
    except errors.HFValidationError:
        raise Error(f"{named} is not the name of a repository") from None
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "unknown")
        raise Error(
            f"Hugging Face answered with status {status} when asked for {named}", hint="try again later"
        ) from None
    except errors.EntryNotFoundError as error:
        cause = _first_of_system(error)
        facts = [("reason", reason(cause))] if cause is not None and cause.strerror else []
        raise Error(
            f"a file of {named} cannot be downloaded", facts=facts, hint="check the network, and build again"
        ) from None
    except Error:
        raise
    except OSError as error:
        raise _unreached(named, error) from None
    except Exception as error:
        if not _is_http(error):
            raise
        raise _unreached(named, error) from None


def _unreached(named: str, error: Exception) -> Error:
    """What the system or the HTTP library refused."""
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
        place = str(error.filename) if error.filename is not None else None
        return Error(f"{named} cannot be downloaded: {reason(error)}", path=place)
    what = f"Hugging Face cannot be reached for {named}"
    hint = "check the network, $HF_ENDPOINT and the proxies"
    return Error(what, facts=[("reason", type(error).__name__)], hint=hint)


def _is_http(error: Exception) -> bool:
    """Whether an exception is one of the HTTP library that huggingface_hub happens to use."""
    return any(
        each.__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "requests") for each in type(error).__mro__
    )


def _first_of_system(error: BaseException | None) -> OSError | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None
