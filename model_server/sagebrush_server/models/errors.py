"""Why a model folder isn't served."""


class ModelError(Exception):
    """The model folder can't be served; the message says what it holds instead and what to do next."""
