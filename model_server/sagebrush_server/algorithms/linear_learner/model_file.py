"""The model format: one `model.json`, readable by people, with nothing in it that could run."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import orjson

from sagebrush_server.algorithms.registry import MODEL_FILE

ALGORITHM: Final = "linear-learner"
FORMAT_VERSION: Final = 1

PredictorType = Literal["binary_classifier", "multiclass_classifier", "regressor"]
Link = Literal["logistic", "identity", "softmax"]


@dataclass(frozen=True, kw_only=True)
class LinearModel:
    """A linear model with k outputs over d features: output = weights · (row - offset) / scale + bias.

    `weights` is k×d with k = 1 except for more than two classes; `offset` and `scale` have d values, `bias` k. With link
    `logistic` the score is 1 / (1 + exp(-output)), with `softmax` exp(output) over the sum of all classes'. A binary score at or above `threshold` is label 1.
    A regressor's label is score · `label_scale` + `label_offset`. `self_test_row` (d values) was scored by training as
    `self_test_score` (k values).
    """

    predictor_type: PredictorType
    feature_dim: int
    link: Link
    weights: list[list[float]]
    bias: list[float]
    offset: list[float]
    scale: list[float]
    threshold: float
    label_scale: float
    label_offset: float
    self_test_row: list[float]
    self_test_score: list[float]

    def save(self, folder: Path) -> None:
        """Write `model.json` into `folder`. Raises OSError."""
        document = {"algorithm": ALGORITHM, "format_version": FORMAT_VERSION, **asdict(self)}
        data = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (folder / MODEL_FILE).write_bytes(data)

    @classmethod
    def read(cls, folder: Path) -> "LinearModel":
        """Read and check `model.json`. Raises ValueError naming what is wrong, KeyError for a missing field."""
        document = cast("dict[str, Any]", orjson.loads((folder / MODEL_FILE).read_bytes()))
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {document['format_version']}; this server reads {FORMAT_VERSION}")
        model = cls(**{field.name: document[field.name] for field in fields(cls)})
        model.check()
        return model

    def check(self) -> None:
        """Raise ValueError where shapes don't agree or a value isn't finite."""
        if self.predictor_type not in ("binary_classifier", "multiclass_classifier", "regressor"):
            raise ValueError(f"predictor_type {self.predictor_type!r}")
        if self.link not in get_args(Link) or (self.link == "softmax") > (
            self.predictor_type == "multiclass_classifier"
        ):
            raise ValueError(f"link {self.link!r} for a {self.predictor_type}")
        outputs = len(self.bias)
        if outputs == 0 or (outputs != 1) != (self.predictor_type == "multiclass_classifier"):
            raise ValueError(f"{outputs} outputs for a {self.predictor_type}")
        if len(self.weights) != outputs or len(self.self_test_score) != outputs:
            raise ValueError(f"{len(self.weights)} rows of weights for {outputs} outputs")
        vectors = {"offset": self.offset, "scale": self.scale, "self_test_row": self.self_test_row}
        vectors |= {f"weights[{index}]": row for index, row in enumerate(self.weights)}
        for name, values in vectors.items():
            if len(values) != self.feature_dim:
                raise ValueError(f"{name} has {len(values)} values; feature_dim is {self.feature_dim}")
        vectors |= {"bias": self.bias, "self_test_score": self.self_test_score}
        vectors |= {"scalars": [self.threshold, self.label_scale, self.label_offset]}
        for name, values in vectors.items():
            if not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name} holds a value that is not finite")
        if not all(value > 0 for value in self.scale):
            raise ValueError("scale holds a value that is not positive")
