"""XGBoost and LightGBM without scikit-learn and pandas, which they import wherever they find them.

Predicting needs neither. A process that serves a booster has 65 MB then instead of 190, and starts a second sooner.
"""

import importlib
import sys
from types import ModuleType
from typing import Final

_MERELY_SUPPORTED: Final = ("dask", "graphviz", "matplotlib", "pandas", "sklearn")
_lean: set[str] = set()


def import_lean(name: str) -> ModuleType:
    """Import a library as if what it merely supports were not installed. To be called by one thread at a time."""
    if name in sys.modules:
        return sys.modules[name]
    hidden = [one for one in _MERELY_SUPPORTED if one not in sys.modules]
    for one in hidden:
        sys.modules[one] = None  # type: ignore[assignment]  # what Python documents for "can't be imported"
    try:
        module = importlib.import_module(name)
    finally:
        for one in hidden:
            del sys.modules[one]
    if "sklearn" in hidden:
        _lean.add(name)
    return module


def forget_lean_imports() -> None:
    """Let the next import of these libraries be whole: objects that are about to be unpickled may be their estimators.

    Models that are loaded keep what they have.
    """
    for library in _lean:
        for name in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
            del sys.modules[name]
    _lean.clear()
