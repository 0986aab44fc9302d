"""Privacy rules for one cell. Pure functions, for new rows and stored rows.

A hash is `<key name>:` and 32 hexadecimal digits of HMAC-SHA-256 over the cell's UTF-8, so equal values join across
streams, and a rewrite of stored rows recognises cells that are already hashed. Dropping or truncating again changes
nothing.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from consumer.domain.errors import HaltError, HaltReason
from consumer.streams.privacy import fingerprint
from consumer.streams.rules import Method, Privacy, RowRules

INVALID_IP = "invalid_ip"
HASH_DIGITS = 32
_NOBODY = re.compile("[0-]*")
_HASHED = re.compile("([A-Za-z0-9_-]+):[0-9a-f]{32}")
_V4_HOST, _V6_HOST = (1 << 8) - 1, (1 << 80) - 1
"""The bits that truncation clears: all but /24, all but /48."""


def hashed(cell: str, name: str, key: bytes) -> str:
    """The hash of a cell under the key with this name.

    The empty text and ids of only `0` and `-` are unchanged: they belong to nobody.
    """
    if _NOBODY.fullmatch(cell):
        return cell
    return f"{name}:{hmac.digest(key, cell.encode(), 'sha256').hex()[:HASH_DIGITS]}"


def is_hashed(cell: str, names: Collection[str]) -> bool:
    """Whether the cell is a hash under a key of one of these names."""
    found = _HASHED.fullmatch(cell)
    return found is not None and found[1] in names


def truncated(cell: str) -> str | None:
    """The network of an address (IPv4 /24, IPv6 /48) in canonical text; None if it is not an address.

    A v4-mapped address counts as IPv4, a zone is dropped.
    """
    try:
        address = ip_address(cell)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, IPv4Address):
        return str(IPv4Address(int(address) & ~_V4_HOST))
    return str(IPv6Address(int(address) & ~_V6_HOST))


def treated(
    cell: str | None, method: Method, name: str, key: bytes, names: Collection[str] = ()
) -> tuple[str | None, str | None]:
    """A cell after its column's rule, and what was odd about it. `name` and `key` matter to hashes.

    A cell that is a hash under a key of `names` stays.
    """
    if cell is None or method is Method.DROP:
        return None, None
    if method is Method.HASH:
        return cell if is_hashed(cell, names) else hashed(cell, name, key), None
    address = truncated(cell)
    return address, INVALID_IP if address is None else None


def key_of(rules: RowRules, keys: Mapping[str, bytes]) -> bytes:
    """The key that the rules hash with; b"" if they hash nothing.

    Raises HaltError (missing_key) if it is not among `keys`, or a different one has its name.
    """
    if (wanted := lacks_key(rules.privacy, keys)) is None:
        return keys[rules.privacy.key] if rules.privacy.key is not None else b""
    raise HaltError(
        HaltReason.MISSING_KEY,
        f"rows of stream {rules.stream} are hashed with the key {rules.privacy.key!r} (fingerprint "
        f"{rules.privacy.fingerprint}), but {wanted}: put that key back into [privacy.keys] under its name",
    )


def lacks_key(privacy: Privacy, keys: Mapping[str, bytes]) -> str | None:
    """What is wrong with the key that these rules need; None if it is there, or none is needed."""
    if privacy.key is None:
        return None
    if privacy.key not in keys:
        return "there is no key with that name"
    found = fingerprint(keys[privacy.key])
    return None if found == privacy.fingerprint else f"the key with that name has fingerprint {found}"
