"""Serving XGBoost: the library's own scores, under the names of SageMaker's container."""

from pathlib import Path
from typing import Final

import numpy as np

from sagebrush_server.algorithms.xgboost import model_file
from sagebrush_server.algorithms.xgboost.scores import scorer
from sagebrush_server.models.bare import BareModel, Columns, Rows
from sagebrush_server.models.settings import LoadingSettings, threads

_SCORE: Final = "score"


def load(folder: Path, *, settings: LoadingSettings | None = None) -> BareModel:
    """Load the model that training left in `folder`.

    It answers `score`: a number, or a list with objective multi:softprob. Where `SAGEMAKER_INFERENCE_OUTPUT` names columns,
    it answers those, as for any other XGBoost file. Raises ValueError or KeyError for a file that isn't one of ours,
    ModelError for one that XGBoost can't read.
    """
    from sagebrush_server.models import xgboost_booster

    settings = settings or LoadingSettings.from_environment()
    document = model_file.read(folder)
    booster = xgboost_booster.read_booster(folder / document["booster"])
    row = np.array([document["self_test_row"]], dtype=np.float64)
    if settings.outputs:
        return xgboost_booster.booster_model(booster, settings=settings, example=row)
    booster.set_param({"nthread": threads()})

    predict = scorer(booster)

    def score(rows: Rows) -> Columns:
        return {_SCORE: predict(rows)}

    expected = np.array(document["self_test_score"])
    return BareModel(
        model_file.ALGORITHM,
        document["feature_dim"],
        score,
        takes_sparse=True,
        fork_safe=False,  # OpenMP
        examples=row,
        expected={_SCORE: expected if len(expected) == 1 else expected[np.newaxis]},
    )
