"""Where steps run: each file here offers `connect(jobs) -> concurrent.futures.Executor`."""
