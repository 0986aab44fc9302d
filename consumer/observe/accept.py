"""Which of two content types a client prefers, by its Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

HTML = "text/html"
JSON = "application/json"


def prefers_html(accept: str) -> bool:
    """Whether HTML is preferred to JSON. A client that does not say, or accepts anything, is a program."""
    wanted = _parsed(accept)
    return _quality(HTML, wanted) > _quality(JSON, wanted)


def _parsed(accept: str) -> dict[str, float]:
    found = {}
    for part in accept.split(","):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        if kind:
            found[kind] = next((_number(word[2:]) for word in parameters if word.startswith("q=")), 1.0)
    return found


def _number(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _quality(kind: str, wanted: dict[str, float]) -> float:
    """The weight of this type by its most specific entry."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((wanted[name] for name in ranges if name in wanted), 0.0)
