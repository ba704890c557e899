"""A built variant as a registry is sent it in a shape: a manifest, and the blobs of it that are no files of the models folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelbuild import shapes
from modelbuild.engine.graph import Output
from modelbuild.engine.store import Damaged
from modelbuild.errors import Error
from modelbuild.ollama.library import Library
from modelbuild.publish import spliced
from modelbuild.registry.joined_blob import FileRange, JoinedBlob
from modelbuild.registry.local_blob import Blob
from modelbuild.session import finishing
from modelbuild.session.exports import Wanted, stems
from modelbuild.session.session import Session
from modelbuild.shapes._finished import Copy, Finished, Range, Spliced, Text
from modelbuild.shapes._oci import Artifact
from modelbuild.tuples import NamedTuple


class Packed(NamedTuple):
    """The bytes of a manifest, and by digest what is made for it alone: configs, texts, the parts of split files."""

    manifest: bytes
    made: Mapping[str, Blob]


def packed(session: Session, output: Output, shape: str, split: str) -> Packed:
    """A variant that is built, in a shape: the same manifest as `export --as` writes for it alone. Raises Error."""
    try:
        model = _finished(session, output, Wanted(shape, "", split))
    except Damaged as damaged:
        facts = [("blob", damaged.artifact)]
        what = f"a blob of '{output.label}' is missing or damaged"
        raise Error(what, facts=facts, hint=f"build it again: modelbuild --force {output.label}") from None
    artifact: Artifact = shapes.get(shape).artifact(model)
    return Packed(artifact.manifest, dict(_made(artifact, session.models.library)))


def _finished(session: Session, output: Output, wanted: Wanted) -> Finished:
    before = finishing.ahead(session, output, stems([output])[output.label])
    results = session.standing(session.graph.select([output])).results
    if any(name not in results for name in (output.manifest, *output.blobs)):
        raise Error(f"'{output.label}' was changed while it was pushed", hint="push it again")
    made = finishing.finished(session, output, before, results[output.manifest], results, wanted.limit)
    return spliced.hashed(made, session.kept, session.store)


def _made(artifact: Artifact, library: Library) -> Iterator[tuple[str, Blob]]:
    for part in (artifact.config, *artifact.layers):
        match part.content:
            case Text(data):
                yield part.digest, JoinedBlob(part.digest, [data])
            case Spliced(pieces):
                yield part.digest, JoinedBlob(part.digest, [_piece(each, library) for each in pieces])
            case Copy():
                continue


def _piece(piece: bytes | Range, library: Library) -> bytes | FileRange:
    if isinstance(piece, bytes):
        return piece
    return FileRange(library.blob_path(piece.digest), piece.offset, piece.length)
