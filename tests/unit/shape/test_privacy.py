"""Privacy, cell by cell: what each method makes of it, and what it leaves alone."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.errors import HaltError, HaltReason
from consumer.shape.privacy import INVALID_IP, hashed, is_hashed, key_of, treated, truncated
from consumer.shape.transform import make_transformer
from consumer.streams.privacy import fingerprint, key_from
from consumer.streams.rules import Format, Method, Privacy, RowRules
from consumer.streams.validation import check_rules
from tests.builders.transforming import custom, rules_of

KEY = bytes(range(32))
T = {"name": "t", "type": "long"}


def test_a_hash_is_named_and_keyed() -> None:
    digest = hmac.new(KEY, "naïve".encode(), hashlib.sha256).hexdigest()
    assert hashed("naïve", "k1", KEY) == f"k1:{digest[:32]}"
    assert hashed("naïve", "k2", KEY[::-1]) != f"k2:{digest[:32]}"


@pytest.mark.parametrize("cell", ["", "0", "-", "00000000-0000-0000-0000-000000000000"])
def test_nobody_is_nobody_after_it(cell: str) -> None:
    assert treated(cell, Method.HASH, "k1", KEY) == (cell, None)


def test_a_cell_is_hashed_once() -> None:
    once = hashed("a", "k1", KEY)
    assert treated(once, Method.HASH, "k2", KEY, {"k1", "k2"}) == (once, None)
    assert treated(once, Method.HASH, "k2", KEY, {"k2"}) == (hashed(once, "k2", KEY), None)
    for text in (once.upper(), once[:-1], f"{once}0", f"x{once}", f"{once}\n"):
        assert not is_hashed(text, {"k1"})


@pytest.mark.parametrize(
    ("cell", "network"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("255.255.255.255", "255.255.255.0"),
        ("2001:DB8:1:2:3:4:5:6", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("::FFFF:cb00:714d", "203.0.113.0"),
        ("::", "::"),
    ],
)
def test_an_address_becomes_its_network(cell: str, network: str) -> None:
    assert treated(cell, Method.TRUNCATE_IP, "", b"") == (network, None)
    assert truncated(network) == network


@pytest.mark.parametrize(
    "cell", ["", "1.2.3", "01.2.3.4", " 1.2.3.4", "1.2.3.4/24", "host", "1.2.3.4:80", "::1%", "1::2::3"]
)
def test_what_is_no_address_is_never_passed_on(cell: str) -> None:
    assert treated(cell, Method.TRUNCATE_IP, "", b"") == (None, INVALID_IP)


@given(st.ip_addresses())
def test_every_address_has_a_network_that_it_lies_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    network = truncated(str(address))
    assert network is not None
    mapped = getattr(address, "ipv4_mapped", None) or address
    size = 24 if mapped.version == 4 else 48
    assert ipaddress.ip_address(network) == ipaddress.ip_network(f"{mapped}/{size}", strict=False).network_address


@pytest.mark.parametrize("method", Method)
def test_null_stays_null(method: Method) -> None:
    assert treated(None, method, "k1", KEY) == (None, None)


def test_a_dropped_cell_is_empty() -> None:
    assert treated("x", Method.DROP, "", b"") == (None, None)


@pytest.mark.parametrize("text", ["00" * 32, "AB" * 40, "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="])
def test_keys_are_hexadecimal_or_base64(text: str) -> None:
    assert len(key_from(text)) >= 32


@pytest.mark.parametrize("text", ["", "00" * 31, "secret of mine, quite long, and no base64!", "QUJD", "é" * 40])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="openssl rand") as caught:
        key_from(text)
    assert not text or text not in str(caught.value)


def hashing(key: bytes) -> RowRules:
    return rules_of("events", Format.JSON, privacy=Privacy({"idfa": Method.HASH}, "k1", fingerprint(key)))


def test_rules_name_the_key_by_its_fingerprint() -> None:
    assert key_of(hashing(KEY), {"k1": KEY}) == KEY
    assert KEY.hex().encode() not in hashing(KEY).document()
    assert fingerprint(KEY).encode() in hashing(KEY).document()
    assert len(fingerprint(KEY)) == 8
    assert key_of(rules_of("events"), {}) == b""


@pytest.mark.parametrize(
    ("keys", "why"), [({}, "no key with that name"), ({"k1": KEY[::-1]}, "the key with that name has fingerprint")]
)
def test_without_the_key_nothing_is_judged(keys: dict[str, bytes], why: str) -> None:
    with pytest.raises(HaltError, match=why) as caught:
        make_transformer(hashing(KEY), keys=keys)
    assert caught.value.reason is HaltReason.MISSING_KEY
    assert KEY.hex() not in caught.value.message


@pytest.mark.parametrize(
    ("privacy", "says"),
    [
        (Privacy({"x": Method.DROP}), "no column 'x'"),
        (Privacy({"t": Method.DROP}), "'t' is the time field"),
        (Privacy({"a": Method.HASH}), "'a' is hashed, which needs a key"),
    ],
)
def test_rules_that_cannot_be(privacy: Privacy, says: str) -> None:
    (problem,) = check_rules(custom([T, {"name": "a", "type": "string"}], "t", privacy=privacy))
    assert says in problem
