"""Faults that are done to workers, servers, the group and the topic."""

import time
from collections.abc import Callable
from contextlib import suppress

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined] # its stubs forget it

from tests.chaos.feeder import Feeder
from tests.chaos.fleet import Fleet, agent
from tests.chaos.ground import SESSION_SECONDS, Ground, within
from tests.chaos.plan import Fault
from tests.harness.gate import Stop, puts
from tests.harness.sink import await_true
from tests.harness.world import World

BEYOND = SESSION_SECONDS + 1.5
SEAL_SECONDS = 6
MOST_PARTITIONS = 6


class Acts:
    """What can be done in one world."""

    def __init__(self, world: World, ground: Ground, fleet: Fleet, feeder: Feeder) -> None:
        self._world = world
        self._ground = ground
        self._fleet = fleet
        self._feeder = feeder
        self._known: dict[str, Callable[[Fault], None]] = {
            "SIGTERM": self._terminate,
            "frozen beyond its session": self._freeze,
            "frozen in a seal": self._freeze_in_seal,
            "scaled down and up": self._scale,
            "broker killed": self._kill_broker,
            "store killed": self._kill_store,
            "offsets rewound": self._rewind,
            "offsets advanced": self._advance,
            "group deleted": self._delete_group,
            "partition added": self._add_partition,
        }

    def do(self, fault: Fault) -> None:
        """Do it to the workers that are up, and let them live with it for a moment."""
        self._known[fault.name](fault)

    def _terminate(self, fault: Fault) -> None:
        time.sleep(fault.seconds / 2)
        self._fleet.terminate(fault.slot)
        self._fleet.ready(fault.slot)
        time.sleep(fault.seconds / 2)

    def _scale(self, fault: Fault) -> None:
        time.sleep(fault.seconds / 2)
        self._fleet.terminate(*(name for name in self._fleet.slots if name != fault.slot))
        time.sleep(fault.seconds)
        self._fleet.company("", len(self._fleet.slots))

    def _freeze(self, fault: Fault) -> None:
        time.sleep(fault.seconds / 2)
        self._frozen(fault.slot)

    def _freeze_in_seal(self, fault: Fault) -> None:
        asked = puts("/_seals/") if fault.count % 2 else puts(".csv")
        stop = Stop("after" if fault.count % 4 > 1 else "before")
        order = self._ground.gate.order(stop, asked, agent=agent(fault.slot))
        slot = self._fleet.slots[fault.slot]
        within(SEAL_SECONDS, lambda: stop.reached.is_set() or not slot.up)
        self._fleet.counts["frozen in a seal, reached"] += stop.reached.is_set()
        self._frozen(fault.slot)
        order.left = 0
        stop.forward()

    def _frozen(self, name: str) -> None:
        sink = self._fleet.ready(name)
        sink.freeze()
        time.sleep(BEYOND)
        sink.wake()

    def _kill_broker(self, fault: Fault) -> None:
        time.sleep(fault.seconds / 2)
        self._ground.kafka.kill()
        self._ground.kafka.start()

    def _kill_store(self, fault: Fault) -> None:
        time.sleep(fault.seconds / 2)
        self._ground.store.kill()
        time.sleep(fault.seconds)
        self._ground.store.start()

    def _rewind(self, fault: Fault) -> None:
        self._move(lambda resume, _end: 0 if fault.count % 2 else max(0, resume - fault.count))

    def _advance(self, fault: Fault) -> None:
        self._move(lambda resume, end: end if fault.count % 2 else min(end, resume + fault.count))

    def _move(self, where: Callable[[int, int], int]) -> None:
        """Move the offsets of partitions that have a seal log: without one the commit says where to begin."""
        self._fleet.terminate(*self._fleet.slots)
        places = []
        for (topic, partition), place in self._world.committed().items():
            if self._world.folder.keys(f"_seals/{topic}/{partition}/"):
                log = self._world.ledger.sent[(topic, partition)]
                end = max((sent.offset + 1 for sent in tuple(log)), default=0)
                places.append(TopicPartition(topic, partition, where(max(0, place.offset), end)))
        admin = self._world.kafka.admin()

        def moved() -> bool:
            asked = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self._world.group, places)])
            try:
                found = asked[self._world.group].result(30).topic_partitions
            except KafkaException:
                return False  # killed members are members until their sessions end
            return all(place.error is None for place in found)

        if places:
            await_true(moved, 30, "the group is empty, and its offsets are moved")
            self._fleet.counts["offsets moved"] += len(places)

    def _delete_group(self, _fault: Fault) -> None:
        self._fleet.terminate(*self._fleet.slots)
        admin = self._world.kafka.admin()

        def deleted() -> bool:
            try:
                admin.delete_consumer_groups([self._world.group])[self._world.group].result(30)
            except KafkaException as error:
                return "GROUP_ID_NOT_FOUND" in str(error) or "does not exist" in str(error)
            return True

        await_true(deleted, 30, "the group is empty, and deleted")

    def _add_partition(self, _fault: Fault) -> None:
        stream = next(iter(self._world.streams.values()))
        if stream.partitions >= MOST_PARTITIONS:
            return
        admin = self._world.kafka.admin()
        count = stream.partitions + 1

        def added() -> bool:
            with suppress(KafkaException):  # a broker that was just restarted, or a count that is there already
                if len(admin.list_topics(stream.topic, timeout=10).topics[stream.topic].partitions) == count:
                    return True
                admin.create_partitions([NewPartitions(stream.topic, count)])[stream.topic].result(30)
            return False

        await_true(added, 60, "the new partition is known")
        self._feeder.widen(stream)
