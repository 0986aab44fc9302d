"""Why a server is not there."""


class Unavailable(Exception):  # noqa: N818 - a state of this machine, not a mistake of the caller
    """This machine cannot have the server: a tool is missing or a download fails. A test skips, or fails in CI."""


class ServerError(Exception):
    """A server that was fetched does not start, or stopped by itself: always a failure. Holds the tail of its log."""
