"""Serving factorization machines, dense and sparse rows alike."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.algorithms.factorization_machines.hyperparameters import PREDICTORS
from sagebrush_server.algorithms.factorization_machines.machine import Machine, logistic
from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows
from sagebrush_server.algorithms.saved_arrays import SavedModel, SavedPredictor, read_saved

ALGORITHM: Final = "factorization-machines"
THRESHOLD: Final = 0.5
"""The score from which on a row is labelled 1."""


class MachinePredictor(SavedPredictor):
    """A factorization machine made ready to be asked (implements `Model`)."""

    algorithm = ALGORITHM

    def __init__(self, saved: SavedModel) -> None:
        super().__init__(saved)
        self._binary = saved.word("predictor_type", among=PREDICTORS) == "binary_classifier"
        self.machine = Machine(
            bias=saved.real("bias"),
            linear=saved.array("linear", self.feature_dim),
            factors=saved.array("factors", self.feature_dim, saved.count("num_factors")),
        )

    @property
    def takes_sparse(self) -> bool:
        """Sparse rows are what factorization machines are for."""
        return True

    def predict(self, rows: NDArray[np.float64] | SparseRows) -> Predictions:
        """Return `score`, and for a classifier `predicted_label`. Raises RowError."""
        outputs = self.machine.outputs(rows)
        scores = logistic(outputs) if self._binary else outputs
        finite = np.isfinite(scores)
        if not finite.all():
            raise RowError("the values are too large for the model to score", row=int(np.flatnonzero(~finite)[0]))
        if not self._binary:
            return Predictions({"score": scores})
        return Predictions({"score": scores, "predicted_label": (scores >= THRESHOLD).astype(np.int64)})


def load(folder: Path) -> MachinePredictor:
    """Load the model in `folder`. Raises ValueError or KeyError for a file that isn't a factorization machine."""
    return MachinePredictor(read_saved(folder, algorithm=ALGORITHM))
