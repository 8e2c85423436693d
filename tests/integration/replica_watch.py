"""Every value that the replicas of a Deployment ever have, as the API server stored them, however short they lasted."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Self

from tests.integration.kube import wait_for

Lines = Callable[[str], AbstractContextManager[Iterator[bytes]]]
"""Opens a path of the API and yields the lines of the answer, until either side ends it."""

WATCH_SECONDS = 20
AGAIN_SECONDS = 0.1


class ReplicaWatch:
    """Watches one Deployment from the `with` on, through outages of the API server, and misses no change.

    Each new watch goes on at the resourceVersion where the last one broke off, so that what was written between them is
    told as well; an API server that was started since does not know that one any more, and is asked for the present.
    Whether all was told is known for sure: Kubernetes counts the changes of a spec in metadata.generation.
    """

    def __init__(self, lines: Lines, *, namespace: str, name: str) -> None:
        self._lines, self._name = lines, name
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._seen: list[tuple[float, int]] = []
        self._generation = 0
        self.problem = ""

    def __enter__(self) -> Self:
        self._begin()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    @property
    def values(self) -> list[int]:
        """The numbers of replicas asked for, in their order, since :meth:`since` or the beginning. Nothing was missed."""
        generation = self._present()["metadata"]["generation"]
        wait_for(lambda: self.problem or self._generation >= generation, "the watch to have seen all")
        assert "" == self.problem
        return [value for _, value in self._seen]

    def since(self) -> None:
        """Forget all but the present number."""
        del self._seen[:-1]

    def _present(self) -> Any:
        with self._lines(f"{self._path}/{self._name}") as lines:
            return json.loads(b"".join(lines))

    def _begin(self) -> None:
        body = self._present()
        self._take(body)
        self._version = str(body["metadata"]["resourceVersion"])

    def _take(self, body: Any) -> None:
        metadata = body["metadata"]
        if metadata["generation"] > self._generation + 1 and self._generation:
            self.problem = f"from generation {self._generation} to {metadata['generation']}: changes were missed"
        self._generation = max(self._generation, metadata["generation"])
        replicas = body["spec"]["replicas"]
        if not self._seen or self._seen[-1][1] != replicas:
            self._seen.append((time.monotonic(), replicas))

    def _run(self) -> None:
        while not self._stop.is_set():
            query = f"watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion={self._version}"
            # The API server may be away, and a line may be cut off.
            with suppress(OSError, ValueError, KeyError), self._lines(f"{self._path}?{query}") as lines:
                for line in lines:
                    if line.strip():
                        self._event(json.loads(line))
            self._stop.wait(AGAIN_SECONDS)

    def _event(self, event: Any) -> None:
        body = event["object"]
        if event["type"] == "ERROR":
            self._begin()
            return
        self._version = str(body["metadata"]["resourceVersion"])
        if event["type"] in ("ADDED", "MODIFIED") and body["metadata"]["name"] == self._name:
            self._take(body)
