"""HTTP to a server on loopback, for readiness and for small clients."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any


def call(address: str, method: str, path: str, body: object = None, timeout: float = 5) -> tuple[int, bytes]:
    """Status and body of one call; `body` goes as JSON. OSError or HTTPException if there is no answer."""
    connection = HTTPConnection(address, timeout=timeout)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def call_json(address: str, method: str, path: str, body: object = None) -> Any:
    """The JSON that a call answers, None for an empty body; OSError for a status that is not 2xx."""
    status, answer = call(address, method, path, body)
    if status // 100 != 2:
        raise OSError(f"{method} {path}: {status} {answer[:500]!r}")
    return json.loads(answer) if answer else None


def answers(address: str, path: str) -> bool:
    """Whether GET of `path` answers 200."""
    try:
        return call(address, "GET", path, timeout=2)[0] == 200
    except (OSError, HTTPException):
        return False
