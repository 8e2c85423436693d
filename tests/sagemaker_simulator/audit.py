"""The audit log: every call, what broke a rule of good conduct, and what nobody owns any more."""

import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

UID_TAG = "sagebrush.dev/uid"


@dataclass(frozen=True)
class Entry:
    """A call as it was answered: `code` is OK, AWS's error code, or ConnectionLost."""

    virtual_time: float
    wall_time: float
    service: str
    operation: str
    resource: str
    access_key: str
    account: str
    region: str
    code: str


@dataclass(frozen=True)
class Violation:
    """Something that AWS permits and that hurts."""

    virtual_time: float
    rule: str
    operation: str
    resource: str
    detail: str


class Audit:
    """Grows with every call; reading is safe at any time."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.violations: list[Violation] = []
        self._lock = threading.Lock()

    def record(self, entry: Entry) -> None:
        with self._lock:
            self.entries.append(entry)

    def violate(self, violation: Violation) -> None:
        with self._lock:
            self.violations.append(violation)

    def clear(self) -> None:
        with self._lock:
            self.entries.clear()
            self.violations.clear()

    def calls(self, operation: str = "*", *, resource: str = "*", code: str = "*") -> list[Entry]:
        """The calls that match these globs, oldest first."""
        with self._lock:
            return [
                entry
                for entry in self.entries
                if fnmatchcase(entry.operation, operation)
                and fnmatchcase(entry.resource, resource)
                and fnmatchcase(entry.code, code)
            ]

    def count(self, operation: str = "*", *, resource: str = "*", code: str = "*") -> int:
        """How many calls match these globs."""
        return len(self.calls(operation, resource=resource, code=code))

    def calls_per_second(self, operation: str = "*", *, virtual: bool = False) -> int:
        """The most calls within any one second of wall (or virtual) time."""
        window: deque[float] = deque()
        peak = 0
        for entry in self.calls(operation):
            now = entry.virtual_time if virtual else entry.wall_time
            window.append(now)
            while window[0] <= now - 1.0:
                window.popleft()
            peak = max(peak, len(window))
        return peak

    def all_operations(self) -> dict[str, int]:
        """Calls by `service.Operation`."""
        with self._lock:
            return dict(Counter(f"{entry.service}.{entry.operation}" for entry in self.entries))

    def dump(self, *, with_calls: bool = False) -> dict[str, Any]:
        """The log as JSON documents."""
        with self._lock:
            operations = sorted({entry.operation for entry in self.entries})
        document = {
            "operations": self.all_operations(),
            "codes": dict(Counter(entry.code for entry in self.entries)),
            "peak_calls_per_second": {operation: self.calls_per_second(operation) for operation in operations},
            "violations": [asdict(each) for each in self.violations],
        }
        if with_calls:
            document["calls"] = [asdict(entry) for entry in self.calls()]
        return document


def orphans(things: Iterable[Any], live_uids: Iterable[str]) -> list[str]:
    """ARNs of the things with a tag sagebrush.dev/uid that names none of the living owners."""
    living = set(live_uids)
    return sorted(thing.arn for thing in things if UID_TAG in thing.tags and thing.tags[UID_TAG] not in living)
