"""What AWS' own images mend in sagemaker-containers, which was written before Python 3.10: the place of Mapping."""

import collections
import collections.abc

collections.Mapping = collections.abc.Mapping
