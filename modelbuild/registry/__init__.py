"""Registries hold models, and are spoken to over HTTP by the OCI distribution protocol."""
