"""Errors of SageMaker's runtime API, as AWS' clients read them: the kind in a header, the message in JSON.

Source: the errors of InvokeEndpoint in botocore's description of `sagemaker-runtime`, version 2017-05-13.
"""

from typing import Final

import orjson

from sagebrush_server.http.messages import Answer

Headers = tuple[tuple[str, str], ...]

_STATUS: Final = {
    "ValidationError": 400,
    "ModelError": 424,
    "ModelNotReadyException": 429,
    "ServiceUnavailable": 503,
}
_REFUSED_FOR_NOW: Final = (429, 503)


def runtime_error(kind: str, *, message: str, headers: Headers = (), **more: object) -> Answer:
    """Build an error of a kind that the API has."""
    body = orjson.dumps({"Message": message, **more})
    return Answer(_STATUS[kind], body=body, headers=(("x-amzn-ErrorType", kind), *headers))


def error_of(answer: Answer, *, headers: Headers = ()) -> Answer:
    """Say in the API's terms that the model, or the server on its behalf, did not answer with success.

    An overloaded or unready server is ServiceUnavailable, which clients try again; everything else is a ModelError with
    the model's own status and words.
    """
    words = answer.body.decode("utf-8", "replace") if isinstance(answer.body, bytes) else ""
    if answer.status in _REFUSED_FOR_NOW:
        return runtime_error("ServiceUnavailable", message=_message(words), headers=headers)
    return runtime_error(
        "ModelError",
        message=f"the model answered {answer.status}: {words}",
        headers=headers,
        OriginalStatusCode=answer.status,
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
