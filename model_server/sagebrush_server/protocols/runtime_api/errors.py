"""Errors of SageMaker's runtime API, as AWS' clients read them: the kind in a header, the message in JSON.

Source: the errors of InvokeEndpoint in botocore's description of `sagemaker-runtime`, version 2017-05-13.
"""

from collections.abc import Mapping
from typing import Final

import orjson

from sagebrush_server.algorithms.responder import Reply

Headers = Mapping[str, str]

_NONE: Final[Headers] = {}
_STATUS: Final = {
    "ValidationError": 400,
    "ModelError": 424,
    "ModelNotReadyException": 429,
    "ServiceUnavailable": 503,
}
_REFUSED_FOR_NOW: Final = (429, 503)


def runtime_error(kind: str, *, message: str, headers: Headers = _NONE, **more: object) -> Reply:
    """Build an error of a kind that the API has."""
    body = orjson.dumps({"Message": message, **more})
    return Reply(body, "application/json", _STATUS[kind], {"x-amzn-ErrorType": kind, **headers})


def error_of(reply: Reply, *, headers: Headers = _NONE) -> Reply:
    """Say in the API's terms that the model, or the server on its behalf, did not answer with success.

    An overloaded or unready server is ServiceUnavailable, which clients try again; everything else is a ModelError with
    the model's own status and words.
    """
    words = reply.body.decode("utf-8", "replace") if isinstance(reply.body, bytes) else ""
    if reply.status in _REFUSED_FOR_NOW:
        return runtime_error("ServiceUnavailable", message=_message(words), headers=headers)
    return runtime_error(
        "ModelError",
        message=f"the model answered {reply.status}: {words}",
        headers=headers,
        OriginalStatusCode=reply.status,
        OriginalMessage=words,
        LogStreamArn="",
    )


def _message(words: str) -> str:
    """Take the message out of the server's own error object."""
    try:
        document = orjson.loads(words)
    except orjson.JSONDecodeError:
        return words
    return str(document.get("error", words)) if isinstance(document, dict) else words
