"""Free loopback ports that stay free."""

import random
import socket

HOST = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections: a server can come back to its port.
_FIRST, _LAST = 12000, 32000


def free() -> int:
    """A port on which nothing listens. Random, so that parallel runs hardly meet."""
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), 100):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port on {HOST} in {_FIRST}-{_LAST}")
