"""Which names hold secrets, and how a text that may hold one is shown. Imports nothing: logs use it at start-up."""

from __future__ import annotations

import re

MASK = "**********"
_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|token|jaas|credentials?$|user[._-]?info|api[._-]?key|private[._-]?key"
    r"|\.pem$|oauthbearer\.config",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?<=://)[^\s,]*:[^\s,]*@|(?<=://)[^/?#\s]*@")
"""Up to the last @: a password may hold one."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def is_secret_name(name: str) -> bool:
    """Whether a setting or a log key of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def without_userinfo(text: str) -> str:
    """The text with `user:password@` of every URL in it masked."""
    return _USERINFO.sub(f"{MASK}@", text) if "@" in text else text


def visible(text: str) -> str:
    """The text with control characters written out, but for tabs and line ends: a key may hold a terminal's."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def safe_echo(text: str) -> str:
    """A text as a message may repeat it: nothing that stands before an `@` but the scheme of a URL."""
    head, at, tail = text.rpartition("@")
    if not at:
        return text
    scheme, slashes, _ = head.partition("://")
    return f"{scheme}://{MASK}@{tail}" if slashes else f"{MASK}@{tail}"
