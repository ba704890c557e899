"""Executors run steps: `inline`, in the calling thread, or in `threads`; the scheduler chooses one for the build."""
