"""An engine in memory: the four verbs as ipam.verbs describes them, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from ipam.verbs import Answer, Claim, Done, GiveBack, KeyRange, List, Listing, Record, Remote


class Memory:
    """records: key, value and revision of each; with guards=False, as an engine that cannot compare them."""

    def __init__(self, records: Iterable[Record] = (), revision: int = 1, *, guards: bool = True) -> None:
        self.records = {record.key: record for record in records}
        self.revision = revision
        self.guards = guards
        self.requests: list[Remote] = []

    def do(self, request: Remote) -> Answer:
        self.requests.append(request)
        if isinstance(request, List):
            listed = tuple(tuple(self.range(keys)[: request.limit or None]) for keys in request.ranges)
            return Listing(listed, tuple(len(self.range(keys)) for keys in request.counts), self.revision)
        if self.guards and not all(self.is_at(key, revision) for key, revision in request.guards):
            return Done(frozenset(), self.revision)
        done = []
        for record in request.records:
            if self.is_at(record[0], 0 if isinstance(request, Claim) else int(record[-1])):
                done.append(record)
        if done:
            self.revision += 1
        for record in done:
            if isinstance(request, GiveBack):
                del self.records[record[0]]
            else:
                self.records[record[0]] = Record(record[0], str(record[1]), self.revision)
        return Done(frozenset(record[0] for record in done), self.revision)

    def range(self, keys: KeyRange) -> list[Record]:
        return [self.records[key] for key in sorted(self.records) if keys[0] <= key < keys[1]]

    def is_at(self, key: str, revision: int) -> bool:
        record = self.records.get(key)
        return (record.revision if record else 0) == revision
