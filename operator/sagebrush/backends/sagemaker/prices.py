"""The price table as a mounted file: read anew when it has changed."""

import logging
from pathlib import Path

import yaml

from sagebrush.core.sagemaker.cost import PriceTable, price_table

log = logging.getLogger(__name__)


class PriceFile:
    """The table of a file, of a ConfigMap's volume for instance. A file that can't be read keeps the table before it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._seen: tuple[int, int] | None = None
        self._table = PriceTable()

    def table(self) -> PriceTable:
        """The table as it stands now; empty where there is no file."""
        if self._path is None:
            return self._table
        try:
            found = self._path.stat()
            mark = (found.st_mtime_ns, found.st_ino)
            if mark != self._seen:
                self._seen = mark
                self._table = price_table(yaml.safe_load(self._path.read_text()) or {})
                log.info("prices of %s are read from %s", self._table.as_of, self._path)
        except (OSError, ValueError, yaml.YAMLError) as error:
            log.warning("the price table %s can't be used: %s", self._path, error)
        return self._table
