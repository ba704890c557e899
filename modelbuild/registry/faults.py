"""What went wrong on the way to a host: urllib3's exceptions as errors that say what to do, without a secret in them."""

from __future__ import annotations

import socket
import ssl
from http.client import IncompleteRead

from modelbuild.errors import Error
from modelbuild.files import reason
from modelbuild.registry.origin import Origin
from modelbuild.tuples import NamedTuple


class Unreachable(Error):
    """The network or a server failed: the same request may succeed later."""


class Fault(NamedTuple):
    """An error, and what its kind says about trying again.

    passing  whether another try may succeed
    unsent   whether the request cannot have reached the server
    """

    error: Error
    passing: bool
    unsent: bool


def fault(origin: Origin, error: Exception, proxy: str | None) -> Fault:
    """Describe an exception of urllib3 or of the system. Its own text is not used: it may contain a URL with a secret."""
    from urllib3 import exceptions as http

    through = [("proxy", proxy)] if proxy else []
    if isinstance(error, http.ProxyError):
        what = f"the proxy does not connect to '{origin}'"
        hint = "check $HTTPS_PROXY, $HTTP_PROXY and $NO_PROXY"
        return Fault(Unreachable(what, facts=[*through, *_cause(error)], hint=hint), True, True)
    if isinstance(error, http.SSLError | ssl.SSLError):
        return Fault(_of_tls(origin, error).replace(facts=[*through, *_cause(error)]), False, True)
    if isinstance(error, http.NameResolutionError):
        what = f"no address is known for host '{origin.host}'"
        cause = error.__cause__
        again = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN
        return Fault(Unreachable(what, facts=through, hint="check the name of the host, and the network"), again, True)
    if isinstance(error, http.NewConnectionError):
        what = f"cannot connect to '{origin}'"
        hint = "check the host, its port, and the network"
        return Fault(Unreachable(what, facts=[*through, *_cause(error)], hint=hint), True, True)
    if isinstance(error, http.ConnectTimeoutError):
        what = f"'{origin}' does not answer"
        return Fault(Unreachable(what, facts=through, hint="check the network, or try again later"), True, True)
    if isinstance(error, http.TimeoutError | TimeoutError):
        what = f"'{origin}' stopped answering"
        return Fault(Unreachable(what, facts=through, hint="try again later"), True, False)
    if isinstance(error, http.LocationValueError):
        return Fault(Error(f"the URL for host '{origin.host}' is not valid"), False, True)
    what = f"the connection to '{origin}' broke"
    return Fault(Unreachable(what, facts=[*through, *_cause(error)], hint="try again later"), True, False)


def _of_tls(origin: Origin, error: Exception) -> Error:
    spelled = f"{error} {error.__cause__}"
    if "WRONG_VERSION_NUMBER" in spelled or "UNKNOWN_PROTOCOL" in spelled or "RECORD_LAYER" in spelled:
        what = f"'{origin}' does not speak TLS"
        return Error(what, hint="use --insecure if this registry is meant to be reached by plain http")
    if "CERTIFICATE_VERIFY_FAILED" in spelled:
        what = f"the certificate of '{origin}' is not trusted"
        folder = f"/etc/docker/certs.d/{origin}"
        hint = f"put the certificate of its authority into {folder}/ca.crt, or name it with --ca-file; or check the clock of this machine"
        return Error(what, hint=hint)
    return Error(f"no TLS connection to '{origin}'", hint="check the host and its port")


def _cause(error: Exception) -> list[tuple[str, str]]:
    """What the system says, of the innermost exception that is the system's own."""
    found: list[tuple[str, str]] = []
    seen: BaseException | None = error
    while seen is not None:
        inner = (
            seen.__cause__
            or seen.__context__
            or next((each for each in seen.args if isinstance(each, Exception)), None)
        )
        if isinstance(seen, IncompleteRead):
            return [("reason", "the answer ended early")]
        if isinstance(seen, ssl.SSLCertVerificationError):
            return [("reason", seen.verify_message)]
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, ssl.SSLError):
            found = [("reason", reason(seen))]
        seen = inner
    return found
