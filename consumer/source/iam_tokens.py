"""Tokens for AWS MSK with IAM (`kafka.auth = "msk-iam"`), made by Amazon's signer from the AWS chain's credentials."""

from __future__ import annotations

import time
from functools import cache

import structlog

from consumer.domain.errors import UsageError

TRY_AGAIN_SECONDS = 20.0
"""After so long new credentials are looked for where there were none."""
NO_TOKEN = "none"  # noqa: S105 - what it says
"""Goes to the brokers, who refuse it, where no token can be made: a client without any is not even made."""

log = structlog.get_logger(__name__)


class IamTokens:
    """The client library's `oauth_cb`. Called from the client's threads, and again at four fifths of a token's life.

    `trouble` is why there is no token, "" if there is one.
    """

    def __init__(self, region: str) -> None:
        self.region = region
        self.trouble = ""

    def __call__(self, _options: str | None) -> tuple[str, float]:
        """A token, and when it expires in epoch seconds.

        Never raises: the client would keep the cause to itself, and wait ten seconds for a token each time it is made.
        """
        try:
            token, expires = sign(self.region)
        except Exception as error:  # noqa: BLE001 - boto and the signer raise whatever they meet, None included
            self.trouble = f"; no token for kafka.auth by the AWS chain: {said(error)}"
            log.warning("kafka_token_missing", region=self.region, error=said(error))
            return NO_TOKEN, time.time() + TRY_AGAIN_SECONDS
        self.trouble = ""
        return token, expires


def sign(region: str) -> tuple[str, float]:
    """A new token and its end in epoch seconds. Raises what boto and the signer raise; UsageError without the extra."""
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise UsageError('kafka.auth: "msk-iam" needs: pip install "adapty-sink[msk-iam]"') from error
    token, expires_ms = MSKAuthTokenProvider.generate_auth_token(region)
    return str(token), expires_ms / 1000


@cache
def tokens_of(region: str) -> IamTokens:
    """One source for all clients of the process."""
    return IamTokens(region)


def said(error: Exception) -> str:
    """What kept a token from being made."""
    if isinstance(error, AttributeError):  # the signer's way to say that the chain found nothing
        return "it finds no credentials"
    return str(error) or type(error).__name__
