"""Free loopback ports that stay free."""

import atexit
import random
import socket
from collections import deque

HOST = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections: a server can come back to its port.
_FIRST, _LAST = 12000, 32000
# A port is free until its server listens, which takes Kafka seconds. Until then the UDP port of the same number says,
# to every process of every run, that it is spoken for; the newest suffice, since older servers listen by then.
_SPOKEN_FOR: deque[socket.socket] = deque()
_NEWEST = 64


@atexit.register
def _give_back() -> None:
    while _SPOKEN_FOR:
        _SPOKEN_FOR.pop().close()


def free() -> int:
    """A port on which nothing listens, and which nobody else is given before its server can listen."""
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), 100):
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((HOST, port))
            with socket.socket() as probe:
                probe.bind((HOST, port))
        except OSError:
            claim.close()
            continue
        _SPOKEN_FOR.append(claim)
        while len(_SPOKEN_FOR) > _NEWEST:
            _SPOKEN_FOR.popleft().close()
        return port
    raise OSError(f"no free port on {HOST} in {_FIRST}-{_LAST}")


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
