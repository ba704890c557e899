"""Files put together of ranges: their bytes, and digests that are taken once and of nothing damaged."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from modelbuild.digest import sha256
from modelbuild.engine.kept import Kept
from modelbuild.engine.store import Damaged, Store
from modelbuild.publish import spliced
from modelbuild.shapes._finished import AHEAD, Copy, Range, Spliced
from tests.shapes.models import finished

DATA = bytes(range(256)) * 20


def test_a_model_gets_the_digests_of_its_parts_and_reads_them_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    kept, made = Kept(store.database), store.put(DATA)
    parts = (Spliced((b"a", Range(made.artifact, 3, 1000))), Spliced((b"b", Range(made.artifact, 1003, 7), bytes(3))))
    whole = [b"a" + DATA[3:1003], b"b" + DATA[1003:1010] + bytes(3)]
    assert [b"".join(spliced.pieces(each, store)) for each in parts] == whole
    model = finished()
    model = replace(model, layers=(replace(model.model, parts=parts), *model.layers[1:]))
    assert [each.digest for each in model.model.files] == [AHEAD, AHEAD]
    hashed = spliced.hashed(model, kept, store)
    assert [each.digest for each in hashed.model.files] == [sha256(each) for each in whole]
    assert hashed.layers[1:] == model.layers[1:]
    store.forget(made.artifact)
    assert spliced.hashed(model, kept, store) == hashed, "what is known is not read again"
    assert spliced.hashed(replace(model, layers=(replace(model.model, parts=(Copy(AHEAD, 1),)),)), kept, store)
    with pytest.raises(Damaged):
        list(spliced.pieces(parts[0], store))
    store.close()


def test_no_digest_is_taken_of_a_damaged_artifact(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    made = store.put(DATA)
    path = store.path(made.artifact)
    assert path is not None
    os.chmod(path, 0o644)
    Path(path).write_bytes(DATA[::-1])
    model = finished()
    part = Spliced((Range(made.artifact, 0, 10),))
    model = replace(model, layers=(replace(model.model, parts=(part,)),))
    kept = Kept(store.database)
    with pytest.raises(Damaged):
        spliced.hashed(model, kept, store)
    assert spliced.known(part, kept) is None
    store.close()
