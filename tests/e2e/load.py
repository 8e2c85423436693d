"""A steady load on one endpoint, every answer checked, until the block ends."""

import http.client
import json
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CONNECTIONS = 4
PAUSE_SECONDS = 0.02
LONGEST_SECONDS = 600.0
ANSWER_SECONDS = 30.0
"""No answer for so long is a failed request; on a busy machine an answer may take seconds."""


class Load:
    """Keep-alive connections that each send a row, wait for the answer, pause, and send again; bounded in time."""

    def __init__(
        self, url: str, row: str, *, connections: int = CONNECTIONS, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._url, self._row, self._pause_seconds = urlsplit(url), row, pause_seconds
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(connections)]
        self._timer = threading.Timer(LONGEST_SECONDS, self._stop.set)
        self.answers = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._timer.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._timer.cancel()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(str(self._url.hostname), self._url.port or 80, timeout=ANSWER_SECONDS)
        while not self._stop.wait(self._pause_seconds):
            try:
                connection.request("POST", self._url.path, self._row, {"Content-Type": "text/csv"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or "predicted_label" not in json.loads(body)["predictions"][0]:
                    self.failures.append(f"{answer.status}: {body[:200]!r}")
                self.answers += 1
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(repr(error))
                connection.close()
        connection.close()
