"""Clients for the tests: they lose no time."""

from __future__ import annotations

from typing import Any

from modelbuild.registry.patience import Patience
from modelbuild.registry.transport import Transport

QUICK = Patience(tries=4, unheard=2, pause=0.001, longest=2.0, connect=10.0, silence=20.0)


def transport(**options: Any) -> Transport:
    return Transport(patience=options.pop("patience", QUICK), **options)
