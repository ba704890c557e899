"""Executors run steps: `inline`, in the calling thread, in `threads`, or by the workers of a `dask` cluster."""
