"""A BentoML service."""

import os
from typing import Annotated

import bentoml
import joblib
import numpy as np
from bentoml.validators import DType
from numpy.typing import NDArray


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Scores:
    """The probability of class 1."""

    def __init__(self):
        self.model = joblib.load(os.path.join(os.environ["MODEL_FOLDER"], "model.joblib"))

    @bentoml.api
    def predict(self, rows: Annotated[NDArray[np.float64], DType("float64")]) -> list[float]:
        """Answer `{"rows": [[…], …]}`."""
        return self.model.predict_proba(rows)[:, 1].tolist()
