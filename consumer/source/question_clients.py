"""The librdkafka clients that ask the cluster: one for topics, and consumers that never join the group."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from consumer.domain.errors import UsageError
from consumer.settings.model import KafkaSettings
from consumer.source.client_config import admin_config, consumer_config
from consumer.source.errors import LastError, cause

T = TypeVar("T")


class QuestionClients:
    """Made when first needed; any thread may use them. Raises UsageError for options that librdkafka refuses."""

    def __init__(self, settings: KafkaSettings, met: LastError) -> None:
        self._settings = settings
        self._config = {**admin_config(settings), "error_cb": met}
        self._making = Lock()
        self._admin: AdminClient | None = None
        self._bystanders: dict[tuple[str, str], Consumer] = {}

    @property
    def admin(self) -> AdminClient:
        """The client that asks about topics and groups."""
        with self._making:
            if self._admin is None:
                self._admin = _made(AdminClient, self._config)
            return self._admin

    def bystander(self, group: str, isolation: str) -> Consumer:
        """A client that names the group and never joins it.

        The admin client's own call for committed offsets ends the process (SIGSEGV in rd_kafka_handle_OffsetFetch,
        librdkafka 2.16) where the answer is NOT_COORDINATOR: as with any broker that is restarted.
        """
        with self._making:
            if (group, isolation) not in self._bystanders:
                own = {
                    "group.id": group,
                    "enable.auto.commit": False,
                    "isolation.level": isolation,
                    # it fetches nothing, but librdkafka holds the default against the user's sizes
                    "fetch.max.bytes": consumer_config(self._settings, static=False)["fetch.max.bytes"],
                }
                self._bystanders[group, isolation] = _made(Consumer, {**self._config, **own})
            return self._bystanders[group, isolation]


def _made(client: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
    try:
        return client(config)
    except KafkaException as error:
        raise UsageError(f"kafka.options: {cause(error).str()}") from error
