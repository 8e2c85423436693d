import numpy as np
from numpy.typing import NDArray

def read_rows(
    bodies: list[bytes],
    *,
    width: int,
    joint: bytes,
    before: bytes = b"",
    after: bytes = b"",
    white: bytes = b" \t",
    lines: bool = False,
) -> tuple[NDArray[np.float64], list[int]] | None:
    """Return the n×`width` values of all bodies, and how many rows each body has; None in case of any doubt.

    A body is `before`, rows with `joint` between them, `after`. Values are JSON's finite numbers with commas between and
    `white` (space, tab and, where it has them, carriage return and line feed) around them; they come out as float() reads
    them, to the last bit. With `lines` a row may end in CR LF for LF, and a body in such an end. In doubt is anything else,
    and what the formats judge differently, such as `-0`: that is for the slow and exact readers.
    Raises ValueError for a width below 1 and an empty joint.
    """
