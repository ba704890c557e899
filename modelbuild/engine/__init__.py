"""Make again what changed and nothing else: steps, digests and blobs, and no models."""
