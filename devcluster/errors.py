"""The one error that a user of the dev cluster is meant to read."""


class DevclusterError(Exception):
    """Something the user can act on: the message says what failed and what to do next.

    The command line prints it without a traceback and exits 1; any other exception is a bug and keeps its traceback.
    """
