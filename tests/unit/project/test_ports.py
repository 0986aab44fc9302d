"""Servers of the tests do not meet on a port."""

import pytest

from tests.services import ports


def test_no_port_is_given_twice_before_its_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    # So narrow a range that forty picks at random would meet.
    monkeypatch.setattr(ports, "_LAST", ports._FIRST + 120)
    given = [ports.free() for _ in range(40)]
    assert len(set(given)) == len(given)
