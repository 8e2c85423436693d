"""What the environment says about serving many models from one folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sagebrush_server.paths import Paths
from sagebrush_server.settings import SettingError, read_integer, read_number

_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much may be loaded at a time. `bytes` and `count` are None for no limit; `unpacked_bytes` is for archives."""

    bytes: int | None = None
    count: int | None = None
    unpacked_bytes: int = 10 * 2**30


@dataclass(frozen=True, slots=True)
class MultiModelSettings:
    """`folder` is what all models are below."""

    folder: Path
    limits: CacheLimits


def read_multi_model(environment: Mapping[str, str]) -> MultiModelSettings | None:
    """Return the settings where `SAGEMAKER_MULTI_MODEL` is true. Raises SettingError.

    Every worker process would have models of its own, and a load or unload would reach but one of them; so a
    multi-model server is one process, and more are had by replicas.
    """
    text = environment.get("SAGEMAKER_MULTI_MODEL", "false")
    many = _TRUTH.get(text.lower())
    if many is None:
        raise SettingError(f"SAGEMAKER_MULTI_MODEL={text!r}: must be true or false")
    if not many:
        return None
    from sagebrush_server.storage.transfer import unpacked_limit_bytes

    if read_integer(environment, name="SAGEMAKER_MODEL_SERVER_WORKERS", default=1, minimum=1) != 1:
        raise SettingError(
            f"SAGEMAKER_MODEL_SERVER_WORKERS={environment['SAGEMAKER_MODEL_SERVER_WORKERS']!r}: must be 1 with "
            "SAGEMAKER_MULTI_MODEL=true, since models are loaded into one process; use replicas for more"
        )
    megabytes = read_number(environment, name="SAGEBRUSH_MODEL_CACHE_MB", default=0)
    return MultiModelSettings(
        folder=Path(environment.get("SAGEBRUSH_MODELS_DIR", str(Paths.from_environment(environment).base / "models"))),
        limits=CacheLimits(
            bytes=int(megabytes * 2**20) or None,
            count=read_integer(environment, name="SAGEBRUSH_MODEL_CACHE_COUNT", default=0) or None,
            unpacked_bytes=unpacked_limit_bytes(),
        ),
    )
