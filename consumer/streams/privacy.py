"""HMAC keys of the privacy rules: their encoding, and the fingerprint by which documents name them."""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode

SHORTEST_KEY = 32
"""Bytes of a key at least: as many as the digest has."""
KEY_NAME = re.compile("[A-Za-z0-9_-]{1,100}")
_HEX = re.compile("(?:[0-9A-Fa-f]{2})+")
_FINGERPRINT_OF = b"adapty-sink: fingerprint of a privacy key"


def key_from(text: str) -> bytes:
    """The key written as hexadecimal or else base64. Raises ValueError, which never repeats the text."""
    try:
        key = bytes.fromhex(text) if _HEX.fullmatch(text) else b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is neither hexadecimal nor base64; write e.g. the output of `openssl rand -hex 32`") from None
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"has {len(key)} bytes; write at least {SHORTEST_KEY}, e.g. from `openssl rand -hex 32`")
    return key


def fingerprint(key: bytes) -> str:
    """The fingerprint of a key in documents in the bucket: enough to recognise the key, useless for finding it."""
    return hmac.digest(key, _FINGERPRINT_OF, "sha256").hex()[:8]
