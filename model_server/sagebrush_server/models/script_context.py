"""The `context` argument of a user's functions: what of SageMaker's multi-model-server context they use."""

from pathlib import Path
from typing import Any

from sagebrush_server.algorithms.responder import Invocation, Reply


class Context:
    """The request at hand, and what the function wants the answer to carry. Functions run one at a time."""

    def __init__(self, model_dir: str) -> None:
        self.model_name = Path(model_dir).name
        self.system_properties: dict[str, Any] = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1}
        self.manifest: dict[str, Any] = {}
        self.request_processor = [self]
        self._headers: dict[str, str] = {}
        self._answer: dict[str, str] = {}
        self._status = 200

    def begin(self, invocation: Invocation) -> None:
        """Start on another request."""
        self._headers = {**invocation.headers, "content-type": invocation.content_type, "accept": invocation.accept}
        self._answer, self._status = {}, 200

    def get_request_header(self, index: int, key: str) -> str | None:  # noqa: ARG002 – requests aren't batched here
        """Return a header of the request, its name in any case."""
        return self._headers.get(key.lower())

    def get_all_request_header(self, index: int) -> dict[str, str]:  # noqa: ARG002 – as above
        """Return all headers of the request, with names in lower case."""
        return dict(self._headers)

    def get_request_properties(self) -> dict[str, str]:
        """Return all headers, as the request processor of the multi-model server does."""
        return dict(self._headers)

    def get_request_property(self, key: str) -> str | None:
        """Return a header, as the request processor of the multi-model server does."""
        return self._headers.get(key.lower())

    def set_response_content_type(self, request_id: object, value: str) -> None:  # noqa: ARG002 – as above
        """Choose the answer's Content-Type."""
        self._answer["content-type"] = value

    def set_response_header(self, index: int, key: str, value: str) -> None:  # noqa: ARG002 – as above
        """Add a header to the answer."""
        self._answer[key.lower()] = value

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:  # noqa: ARG002 – as above
        """Choose the answer's status."""
        self._status = code

    def applied(self, reply: Reply) -> Reply:
        """The reply with what the functions chose."""
        headers = dict(self._answer)
        content_type = headers.pop("content-type", reply.content_type)
        return Reply(reply.body, content_type=content_type, status=self._status, headers=headers)
