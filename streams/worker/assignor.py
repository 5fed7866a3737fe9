"""Who gets which shard: partition p of all topics goes to one worker, workers get equal shares and keep what they have.

A topic may have more partitions than there are shards, as they were added later: partition p then goes with shard p
modulo the number of shards, so that nobody gets a share without any state.

Faust's own assignor keeps topics together only if they have the same number of partitions, and may leave a worker
without any while others have two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from aiokafka.cluster import ClusterMetadata

_VERSION = 0


class _Held(msgspec.Struct, frozen=True, array_like=True):
    """What a member holds since which round of assignments. What a later round gave to somebody else counts more."""

    round: int = 0
    shards: tuple[int, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Held)


class ShardAssignor(AbstractPartitionAssignor):
    """Assigns shards; one for each worker, as it remembers what the worker holds.

    Args:
        home: the topic whose partitions are the shards; where it is not there, all partitions are.
    """

    name = "shards"

    def __init__(self, home: str = "") -> None:
        self._home = home
        self._held = _Held()

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What the worker tells the group."""
        return ConsumerProtocolMemberMetadata(_VERSION, sorted(topics), _encode(self._held))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The assignment, made by the group's leader for all."""
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        partitions = {topic: cluster.partitions_for_topic(topic) or set() for topic in topics}
        shards = sorted(partitions.get(self._home) or set().union(*partitions.values()))
        held = {member: _decode(metadata.user_data) for member, metadata in members.items()}
        turn = max((one.round for one in held.values()), default=0) + 1
        shared = share(shards, {member: (one.round, one.shards) for member, one in held.items()})
        return {
            member: ConsumerProtocolMemberAssignment(
                _VERSION,
                [(topic, some) for topic in topics if (some := _with(given, partitions[topic], shards))],
                _encode(_Held(turn, tuple(sorted(given)))),
            )
            for member, given in shared.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what was given."""
        self._held = _decode(assignment.user_data)


def _with(given: AbstractSet[int], partitions: AbstractSet[int], shards: Sequence[int]) -> list[int]:
    """The partitions that go with some of the shards."""
    return sorted(partition for partition in partitions if shards[partition % len(shards)] in given)


def share(shards: Iterable[int], members: Mapping[str, tuple[int, Iterable[int]]]) -> dict[str, set[int]]:
    """Divide shards among members as equally as can be, moving as few as can be.

    Args:
        shards: what there is.
        members: by id, what each holds, and since which round.
    """
    left = set(shards)
    given: dict[str, set[int]] = {member: set() for member in sorted(members)}
    least, more = divmod(len(left), len(given))  # so many get one more
    latest_first = sorted(given, key=lambda member: (-members[member][0], member))
    for room in (least, least + 1):
        for member in latest_first:
            for shard in sorted(left.intersection(members[member][1])):
                if len(given[member]) < room and (room == least or more):
                    given[member].add(shard)
                    left.discard(shard)
                    more -= room > least
    for shard in sorted(left):
        fewest = min(given, key=lambda member: (len(given[member]), member))
        given[fewest].add(shard)
    return given


def _decode(user_data: bytes) -> _Held:
    try:
        return _decoder.decode(user_data)
    except msgspec.MsgspecError:
        return _Held()
