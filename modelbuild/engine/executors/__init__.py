"""Executors, where steps run: each file offers `connect(jobs) -> concurrent.futures.Executor`."""
