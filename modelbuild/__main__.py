"""`python -m modelbuild`."""

from __future__ import annotations

import sys

from modelbuild.cli import main

sys.exit(main())
