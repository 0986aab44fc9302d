"""Servers of the tests do not meet on a port."""

import pytest

from tests.services import ports


def test_no_port_is_given_twice_before_its_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    # So narrow a range that picks at random would meet, and wide enough for several runs at once.
    monkeypatch.setattr(ports, "_LAST", ports._FIRST + 600)
    given = [ports.free() for _ in range(60)]
    assert len(set(given)) == len(given)
