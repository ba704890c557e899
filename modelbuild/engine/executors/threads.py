"""Run steps in threads of this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor


def connect(jobs: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(jobs, thread_name_prefix="step")
