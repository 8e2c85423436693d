"""What the manifest says about loading a model, as environment variables of `serve` (docs/contract.md)."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sagebrush_server.settings import SettingError

FRAMEWORKS: Final = ("scikit-learn", "xgboost", "lightgbm", "onnx", "mlflow", "inference.py")
OUTPUTS: Final = (
    "predicted_label",
    "labels",
    "probability",
    "probabilities",
    "raw_score",
    "raw_scores",
    "predicted_score",
)
"""What `SAGEMAKER_INFERENCE_OUTPUT` may name, as in SageMaker's XGBoost container."""
_TYPE_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class LoadingSettings:
    """How a model folder is to be read; the defaults detect what it is and run no code that hides in data."""

    framework: str | None = None
    unpickling: bool = False
    requirements: bool = False
    trusted_types: frozenset[str] = frozenset()
    program: str = "inference.py"
    submit_directory: str | None = None
    default_accept: str = "application/json"
    outputs: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "LoadingSettings":
        """Read the variables. Raises SettingError naming the one that makes no sense."""
        framework = environment.get("SAGEBRUSH_MODEL_FRAMEWORK") or None
        if framework is not None and framework not in FRAMEWORKS:
            raise SettingError(f"SAGEBRUSH_MODEL_FRAMEWORK={framework!r}: must be one of {', '.join(FRAMEWORKS)}")
        allowed = _words(environment.get("SAGEBRUSH_MODEL_ALLOW", ""))
        types = [word for word in allowed if word not in ("Unpickling", "Requirements")]
        for word in types:
            if not _TYPE_NAME.fullmatch(word):
                raise SettingError(
                    f"SAGEBRUSH_MODEL_ALLOW: {word!r} is neither Unpickling, Requirements nor the dotted name of a type"
                )
        outputs = _words(environment.get("SAGEMAKER_INFERENCE_OUTPUT", ""))
        if unknown := [word for word in outputs if word not in OUTPUTS]:
            raise SettingError(f"SAGEMAKER_INFERENCE_OUTPUT: {unknown[0]!r} must be one of {', '.join(OUTPUTS)}")
        return cls(
            framework=framework,
            unpickling="Unpickling" in allowed,
            requirements="Requirements" in allowed,
            trusted_types=frozenset(types),
            program=environment.get("SAGEMAKER_PROGRAM") or "inference.py",
            submit_directory=environment.get("SAGEMAKER_SUBMIT_DIRECTORY") or None,
            default_accept=environment.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or "application/json",
            outputs=tuple(outputs),
        )


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def threads() -> int:
    """
    Threads that a library may use for one prediction: `OMP_NUM_THREADS`, default 1, since the server scales by
    processes. Raises SettingError.
    """
    text = os.environ.get("OMP_NUM_THREADS", "1")
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(f"OMP_NUM_THREADS={text!r}: must be a whole number of at least 1")
    return int(text)
