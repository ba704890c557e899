"""The classes that texts tell of are those that the architectures read."""

from __future__ import annotations

from modelbuild.checkpoint import architectures, classes


def test_the_texts_tell_what_is_read() -> None:
    assert classes.read().keys() == architectures.readers().keys()
