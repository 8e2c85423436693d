"""A request that is refused, with the status code SageMaker's containers use for it."""


class RequestError(Exception):
    """Why a request is refused. `status` is the HTTP status; the message is shown to the client."""

    def __init__(self, status: int, *, message: str) -> None:
        super().__init__(message)
        self.status = status


def bad_data(message: str) -> RequestError:
    """Build the refusal of a body that can't be understood (400)."""
    return RequestError(400, message=message)
