"""Which certificates are trusted: those of the system, and those of files that the user names."""

from __future__ import annotations

import os
import ssl

from modelbuild.errors import Error
from modelbuild.files import reason

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
"""Roots of systems, for a Python that was built for another one and looks elsewhere."""


def context(*ca_files: str) -> ssl.SSLContext:
    """What TLS connections are checked with. Raises Error for a file without certificates."""
    made = ssl.create_default_context()
    if not _has_roots():
        for bundle in filter(os.path.isfile, BUNDLES):
            made.load_verify_locations(bundle)
            break
    for ca_file in ca_files:
        try:
            made.load_verify_locations(ca_file)
        except ssl.SSLError:
            what = "contains no certificate in PEM format"
            raise Error(
                what, path=ca_file, hint="name the certificate of the authority that signed the registry's"
            ) from None
        except OSError as error:
            raise Error(f"cannot be read: {reason(error)}", path=ca_file, hint="expected a PEM file") from None
    return made


def _has_roots() -> bool:
    """Whether OpenSSL finds any certificates where it looks by itself."""
    paths = ssl.get_default_verify_paths()
    folder = paths.capath
    return paths.cafile is not None or bool(folder and os.path.isdir(folder) and os.listdir(folder))
