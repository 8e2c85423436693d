"""Text formats: a row is a line. Files are cut at ends of lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import PIECE_BYTES, Layout, Piece


@dataclass(frozen=True)
class LineFormat:
    """The parts of a `Format` that all text formats share. Blank lines are no rows."""

    layout: Layout
    piece_bytes: int = PIECE_BYTES

    def pieces(self, path: Path) -> list[Piece]:
        """Cut after the first end of line past every `piece_bytes`. Raises ClientError for a file without a row."""
        size = path.stat().st_size
        pieces, start = [], 0
        with path.open("rb") as file:
            if not file.read(4096).strip():
                raise ClientError(f"channel {self.layout.channel}: {path.name} is empty")
            while start < size:
                file.seek(min(start + self.piece_bytes, size) - 1)
                file.readline()
                end = file.tell()
                pieces.append(Piece(path, start, end))
                start = end
        return pieces

    def rows_before(self, piece: Piece) -> int:
        """Count the lines before the piece that aren't blank."""
        with piece.path.open("rb") as file:
            count = 0
            while file.tell() < piece.start:
                count += bool(file.readline().strip())
        return count

    def text(self, piece: Piece) -> bytes:
        """Return the piece's bytes."""
        with piece.path.open("rb") as file:
            file.seek(piece.start)
            return file.read(piece.end - piece.start)

    def fault(self, piece: Piece, *, row: int, about: str) -> ClientError:
        """Return the error for row `row` (from 0, within the piece); `about` follows the row's number."""
        number = self.rows_before(piece) + row + 1
        return ClientError(f"channel {self.layout.channel}: {piece.path.name}, row {number}{about}")


def lines_of(text: bytes) -> Iterator[bytes]:
    """Yield the lines that aren't blank, without their ends."""
    return (line for line in text.splitlines() if line.strip())
