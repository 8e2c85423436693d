"""The house: what may lie where, and how large it may grow."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 320


def test_operator_folder_must_not_be_a_package() -> None:
    """operator/__init__.py would shadow the standard library's module operator for everything run from the root."""
    assert not (ROOT / "operator/__init__.py").exists()
    subprocess.run([sys.executable, "-c", "import collections, operator; operator.add"], cwd=ROOT, check=True)


def test_files_must_stay_short() -> None:
    """A file that wants to be longer holds a concept that wants its own room."""
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for folder in ("operator/sagebrush", "model_server/sagebrush_server")
        for file in sorted((ROOT / folder).rglob("*.py"))
    }
    assert {} == {name: length for name, length in lengths.items() if length > LONGEST_FILE}
