"""``python -m sagebrush``."""

import sys

from sagebrush.cli import main

sys.exit(main())
