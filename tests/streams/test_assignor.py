"""The assignment of shards to workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from salesgauge.streams.worker.assignor import ShardAssignor, share

SHARDS = range(8)


class Cluster:
    """Topics and their numbers of partitions."""

    def __init__(self, **topics: int) -> None:
        self._topics = topics

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """As aiokafka tells it."""
        return set(range(self._topics[topic])) if topic in self._topics else None


members = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 5), st.sets(st.integers(0, 12))), min_size=1
)


@given(members, st.integers(0, 12))
def test_every_shard_has_one_owner_and_shares_are_equal(held: dict[str, tuple[int, set[int]]], count: int) -> None:
    shared = share(range(count), held)
    assert sorted(shard for shards in shared.values() for shard in shards) == list(range(count))
    sizes = [len(shards) for shards in shared.values()]
    assert max(sizes) - min(sizes) <= 1
    assert shared.keys() == held.keys()


def test_a_worker_keeps_what_it_has() -> None:
    assert share(SHARDS, {"a": (1, (5, 6, 7)), "b": (1, (0, 1, 2, 3, 4))}) == {"a": {5, 6, 7, 4}, "b": {0, 1, 2, 3}}
    assert share(SHARDS, {"a": (3, (4, 5, 6, 7)), "b": (3, (0, 1, 2, 3))}) == {"a": {4, 5, 6, 7}, "b": {0, 1, 2, 3}}


def test_a_newcomer_takes_only_its_share() -> None:
    shared = share(SHARDS, {"a": (2, (0, 1, 2, 3)), "b": (2, (4, 5, 6, 7)), "c": (0, ())})
    assert shared["a"] < {0, 1, 2, 3} or shared["b"] < {4, 5, 6, 7}
    assert len(shared["c"]) == 2
    assert shared["a"] <= {0, 1, 2, 3}
    assert shared["b"] <= {4, 5, 6, 7}


def test_what_a_later_round_gave_away_does_not_come_back() -> None:
    """A worker that was away claims what it had; who got it since keeps it."""
    assert share(range(4), {"old": (1, (0, 1, 2, 3)), "new": (2, (0, 1))}) == {"old": {2, 3}, "new": {0, 1}}


def assign(workers: dict[str, ShardAssignor], cluster: Cluster, topics: list[str]) -> dict[str, dict[str, list[int]]]:
    """One round: topic -> partitions by worker."""
    metadata = {name: worker.metadata(topics) for name, worker in workers.items()}
    assignments = next(iter(workers.values())).assign(cluster, metadata)
    for name, assignment in assignments.items():
        workers[name].on_assignment(assignment)
    return {name: dict(assignment.assignment) for name, assignment in assignments.items()}


def test_partitions_of_one_number_go_to_one_worker_though_topics_differ() -> None:
    cluster = Cluster(leads=6, deals=4, rekeyed=4)
    workers = {name: ShardAssignor() for name in "abc"}
    first = assign(workers, cluster, ["leads", "deals", "rekeyed", "missing"])
    for topics in first.values():
        narrow = [partition for partition in topics["leads"] if partition < 4]
        assert topics.get("deals", []) == narrow == topics.get("rekeyed", [])
        assert "missing" not in topics
    assert assign(workers, cluster, ["leads", "deals", "rekeyed"]) == first


def test_metadata_of_a_stranger_is_no_claim() -> None:
    metadata = {"a": ShardAssignor().metadata(["deals"])}
    metadata["a"].user_data = b"\xc1 no msgpack"
    assert ShardAssignor().assign(Cluster(deals=2), metadata)["a"].assignment == [("deals", [0, 1])]


def test_partitions_that_were_added_go_with_a_shard() -> None:
    """A worker without any shard could not process what they hold."""
    workers = {name: ShardAssignor("home") for name in "abc"}
    cluster = Cluster(home=4, deals=6, leads=4)
    assigned = assign(workers, cluster, ["deals", "home", "leads"])
    assert sorted(p for one in assigned.values() for p in one["deals"]) == list(range(6))
    for one in assigned.values():
        assert one["home"] == one["leads"]
        assert {p % 4 for p in one["deals"]} == set(one["home"])
    assert assign(workers, Cluster(home=4, deals=6, leads=1), ["deals", "home", "leads"])
