"""Which names hold secrets, and how text with secrets is shown. Imports nothing: logs use it at startup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

MASK = "**********"
_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|token|jaas|credentials?$|user[._-]?info|api[._-]?key|private[._-]?key"
    r"|\.pem$|oauthbearer\.config",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?<=://)[^\s,]*:[^\s,]*@|(?<=://)[^/?#\s]*@")
"""Up to the last @: a password may contain one."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HALVES = re.compile(r"[\ud800-\udfff]")
"""Half characters: bytes of a file name that are no UTF-8, which no output takes."""


SHORTEST = 4
"""Minimum length of a text that is masked everywhere: shorter ones occur in too many others."""
_hidden: list[str] = []
"""One per process, as is its output: all output passes through it in the end."""


def hide(texts: Iterable[str]) -> None:
    """From now on exactly these texts are masked in all output of the process."""
    spelled = {form for text in texts for form in (text, json.dumps(text)[1:-1], quote(text, safe=""))}
    _hidden[:] = sorted((text for text in spelled if len(text) >= SHORTEST), key=len, reverse=True)  # one may begin so


def without(text: str, hidden: Iterable[str]) -> str:
    """The text with each of `hidden` masked."""
    for secret in hidden:
        text = text.replace(secret, MASK)
    return text


def without_hidden(text: str) -> str:
    """The text with all that is hidden masked."""
    return without(text, _hidden)


def document_without_hidden(value: object) -> object:
    """A document with the same done to its texts: a number that looks like a secret stays a number."""
    if isinstance(value, str):
        return _HALVES.sub(_spelled, without_hidden(value))
    if isinstance(value, Mapping):
        return {_HALVES.sub(_spelled, str(key)): document_without_hidden(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [document_without_hidden(item) for item in value]
    return value


def without_secrets(text: str) -> str:
    """The same, and the user in every URL masked too: for words of strangers, which may repeat what they were sent."""
    return without_userinfo(without_hidden(text))


def is_secret_name(name: str) -> bool:
    """Whether a setting or a log key with this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def without_userinfo(text: str) -> str:
    """The text with `user:password@` of every URL in it masked."""
    return _USERINFO.sub(f"{MASK}@", text) if "@" in text else text


def visible(text: str) -> str:
    """The text with control characters escaped, except tabs and line ends: a key may contain terminal sequences."""
    return _CONTROL.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def safe_echo(text: str) -> str:
    """A text as a message may repeat it: without anything before an `@` except the scheme of a URL."""
    head, at, tail = text.rpartition("@")
    if not at:
        return text
    scheme, slashes, _ = head.partition("://")
    return f"{scheme}://{MASK}@{tail}" if slashes else f"{MASK}@{tail}"
