"""A token service in a test's own process: it knows users by passwords, refresh tokens and Ollama's signatures, and signs JWTs.

Written from the distribution project's "Token Authentication" and "OAuth2 Token Authentication" specifications and from what Ollama's
client sends, not from our own client.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_ssh_public_key

from tests.registry.standin import Asked, Reply

EMPTY = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class TokenService:
    """Gives tokens. `url` is where it is reached; `asked` lists who came, and for which scopes.

    anonymous  what nobody in particular may do
    """

    url: str = ""
    service: str = "registry.test"
    issuer: str = "issuer.test"
    passwords: dict[str, str] = field(default_factory=dict)
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    anonymous: tuple[str, ...] | None = None
    lifetime: int = 300
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    certificate: Any = None
    signing_key: ec.EllipticCurvePrivateKey | None = None
    nonces: set[str] = field(default_factory=set)

    def __call__(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        if asked.method == "POST":
            form = parse_qs(asked.body.decode())
            user = self.refresh_tokens.get(form["refresh_token"][0])
            if form["grant_type"] != ["refresh_token"] or form["service"] != [self.service] or user is None:
                return Reply(401)
            return self._give(user, form["scope"][0].split(), "access_token")
        values = parse_qs(query)
        if values.get("service") != [self.service]:
            return Reply(400)
        sent = asked.headers.get("authorization")
        user = self._user(sent, asked) if sent else None
        if user is None and (sent or self.anonymous is None):
            return Reply(401, b'{"details": "no"}')
        return self._give(user or "", values.get("scope", []))

    def _user(self, sent: str, asked: Asked) -> str | None:
        if sent.startswith("Basic "):
            user, _, password = base64.b64decode(sent[6:]).decode().partition(":")
            return user if self.passwords.get(user) == password else None
        public, _, signature = sent.partition(":")
        values = parse_qs(asked.path.partition("?")[2])
        if abs(time.time() - int(values["ts"][0])) > 600 or values["nonce"][0] in self.nonces:
            return None
        self.nonces.add(values["nonce"][0])
        origin = self.url.partition("/token")[0]
        key = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
        assert isinstance(key, Ed25519PublicKey)
        try:
            key.verify(base64.b64decode(signature, validate=True), f"GET,{origin}{asked.path},{EMPTY}".encode())
        except InvalidSignature:
            return None
        return self.keys.get(public)

    def _give(self, user: str, scopes: list[str], name: str = "token") -> Reply:
        self.asked.append((user, scopes))
        value: dict[str, Any] = {name: self._token(user, scopes), "expires_in": self.lifetime}
        return Reply(200, json.dumps(value).encode(), [("Content-Type", "application/json")])

    def _token(self, user: str, scopes: list[str]) -> str:
        if self.signing_key is None:
            return f"opaque-{user}-{len(self.asked)}"
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = (
                actions.split(",") if user else [each for each in actions.split(",") if each in (self.anonymous or ())]
            )
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        chain = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        claims = {"iss": self.issuer, "sub": user, "aud": self.service, "exp": now + self.lifetime, "nbf": now - 60,
                  "iat": now, "jti": str(len(self.asked)), "access": access}  # fmt: skip
        head = {"typ": "JWT", "alg": "ES256", "x5c": chain}
        text = ".".join(unpadded(json.dumps(part).encode()) for part in (head, claims))
        r, s = decode_dss_signature(self.signing_key.sign(text.encode(), ec.ECDSA(SHA256())))
        return f"{text}.{unpadded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
