"""What is freed must be there for the next request without the kernel's help."""

import os
import subprocess
import sys

import pytest

USE_AND_FREE = """
import resource
import numpy as np
from sagebrush_server.memory import keep_freed_memory

keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**17).sum()
before = faults()
for _ in range(50):
    np.ones(2**17).sum()
print(faults() - before)
"""


@pytest.mark.parametrize(("variables", "kept"), [({}, True), ({"MALLOC_MMAP_THRESHOLD_": "131072"}, False)])
def test_freed_memory_must_be_kept_unless_the_user_says_otherwise(variables, kept):
    """50 times a megabyte are 12,800 pages where each is given back and faulted in again."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", USE_AND_FREE],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, **variables},
        timeout=60,
    )
    assert (int(done.stdout) < 1_000) == kept
