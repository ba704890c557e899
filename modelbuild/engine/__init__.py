"""The engine runs the steps whose inputs changed and no others; it knows digests and blobs, and no models."""
