"""Who a browser is, as a sealed cookie, and the token that every form of that browser carries.

Owns the seal. It must not know HTTP or passwords. Pure, but for the randomness of a new session; no error leaves it.

A seal depends on the person's stored password too: a new password ends every session of that person.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME = 12 * 3600.0
RENEWED_AFTER = 600.0
"""Seconds: a session that is used lives on, one that is not ends after LIFETIME."""

StoredPassword = Callable[[str], str | None]
"""What the password file says of a person; None for nobody it knows."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser. `user` is None for one that has not signed in; `since` seconds since the epoch."""

    identity: str
    user: str | None
    since: float

    def is_to_be_renewed(self, now: float) -> bool:
        return now - self.since > RENEWED_AFTER


def new_session(user: str | None, now: float) -> Session:
    """A session that nobody can guess."""
    return Session(secrets.token_hex(16), user, now)


def renewed(session: Session, now: float) -> Session:
    return Session(session.identity, session.user, now)


class Seal:
    """Seals sessions with one key."""

    def __init__(self, key: bytes, stored: StoredPassword) -> None:
        self._key = key
        self._stored = stored

    def close(self, session: Session) -> str:
        """The session as a cookie's value: letters, digits, `.`, `-` and `_`."""
        user = base64.urlsafe_b64encode((session.user or "").encode()).decode().rstrip("=")
        text = f"{session.identity}.{int(session.since)}.{user}"
        return f"{text}.{self._mac('session', session.user, text)}"

    def open(self, sealed: str, now: float) -> Session | None:
        """The session in a cookie; None if it is not ours, too old, or of somebody who is gone."""
        text, _, mac = sealed.rpartition(".")
        try:
            identity, since, encoded = text.split(".")
            padding = "=" * (-len(encoded) % 4)
            user = base64.urlsafe_b64decode(encoded + padding).decode() or None
            session = Session(identity, user, float(int(since)))
        except (ValueError, binascii.Error):
            return None
        if user is not None and self._stored(user) is None:
            return None
        if not hmac.compare_digest(mac.encode(), self._mac("session", user, text).encode()):
            return None
        return session if -RENEWED_AFTER <= now - session.since <= LIFETIME else None

    def token(self, session: Session) -> str:
        """What a form of this session carries, so that no other site can send it."""
        return self._mac("form", session.user, session.identity)

    def is_token(self, session: Session, token: str) -> bool:
        return hmac.compare_digest(self.token(session).encode(), token.encode("utf-8", "replace"))

    def _mac(self, of: str, user: str | None, text: str) -> str:
        stored = "" if user is None else (self._stored(user) or "")
        key = hmac.digest(self._key, f"{of}\0{user or ''}\0{stored}".encode(), hashlib.sha256)
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
