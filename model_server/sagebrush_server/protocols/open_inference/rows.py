"""From tensors to the rows that a model scores, and what a model's tensors are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import bad_data
from sagebrush_server.codecs.rows import refuse_unless_finite, shown
from sagebrush_server.protocols.open_inference.tensors import Tensor, datatype_of

if TYPE_CHECKING:
    from sagebrush_server.algorithms.model import Model

INPUT_NAME: Final = "input-0"
"""The name that metadata gives the one input of a model whose features have no names; any name is taken."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's tensors: its features' names (None where they have none), and type and shape of each output.

    `root` is the key around the records of a JSON answer.
    """

    feature_dim: int | None
    feature_names: tuple[str, ...] | None
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]
    root: str = "predictions"

    @classmethod
    def of(cls, model: "Model") -> "Signature":
        """Ask a model; its outputs are those for the rows of its self-test."""
        names = getattr(model, "feature_names", None)
        predictions = model.predict(model.self_test_rows())
        columns = predictions.columns
        return cls(
            model.feature_dim,
            feature_names=tuple(names) if names else None,
            outputs={name: (datatype_of(values), (-1, *values.shape[1:])) for name, values in columns.items()},
            root=predictions.root,
        )

    def inputs_document(self) -> list[dict[str, Any]]:
        """Describe the inputs as model metadata does; -1 is any size."""
        if self.feature_names is not None:
            return [{"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in self.feature_names]
        width = -1 if self.feature_dim is None else self.feature_dim
        return [{"name": INPUT_NAME, "datatype": "FP64", "shape": [-1, width]}]

    def outputs_document(self) -> list[dict[str, Any]]:
        """Describe the outputs as model metadata does."""
        return [
            {"name": name, "datatype": datatype, "shape": list(shape)}
            for name, (datatype, shape) in self.outputs.items()
        ]


def rows_of(inputs: Sequence[Tensor], *, signature: Signature) -> NDArray[np.float64]:
    """Return the n×feature_dim values of one tensor of that shape, or of several whose columns stand side by side.

    Several are put into the order of the model's features, where these have names, else they stay in the order sent.
    Raises RequestError (400) naming the tensor.
    """
    if signature.feature_names is not None and len(inputs) > 1:
        inputs = _in_order(inputs, names=signature.feature_names)
    width = signature.feature_dim
    columns = [_columns(tensor, alone=len(inputs) == 1, width=width) for tensor in inputs]
    for tensor, values in zip(inputs, columns, strict=True):
        if len(values) != len(columns[0]):
            raise bad_data(
                f"input {shown(tensor.name)} has {len(values)} rows, input {shown(inputs[0].name)} has {len(columns[0])}"
            )
    rows = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    if rows.shape[1] != width and width is not None:
        which = f"input {shown(inputs[0].name)} has" if len(inputs) == 1 else f"the {len(inputs)} inputs have together"
        raise bad_data(f"{which} {rows.shape[1]} columns; the model expects {width}")
    refuse_unless_finite(rows)
    return rows


def _in_order(inputs: Sequence[Tensor], *, names: Sequence[str]) -> list[Tensor]:
    known = {tensor.name: tensor for tensor in inputs}
    for tensor in inputs:
        if tensor.name not in names:
            raise bad_data(f"the model has no feature {shown(tensor.name)}; it has: {', '.join(names)}")
    if missing := [name for name in names if name not in known]:
        raise bad_data(f"the inputs lack the model's features {', '.join(map(shown, missing))}")
    return [known[name] for name in names]


def _columns(tensor: Tensor, *, alone: bool, width: int | None) -> NDArray[np.float64]:
    """Return a tensor as n×k float64."""
    values = tensor.values
    if tensor.datatype == "BYTES":
        raise bad_data(f"input {shown(tensor.name)}: BYTES hold no numbers; the model scores numbers")
    if values.ndim == 1 and (not alone or width == 1):
        values = values.reshape(-1, 1)
    if values.ndim != 2:
        expected = "[n, " + (str(width) if width is not None else "any number of columns") + "]"
        raise bad_data(
            f"input {shown(tensor.name)} has the shape {list(values.shape)}; expected {expected}"
            + ("" if alone else ", [n] or [n, 1]")
        )
    return np.ascontiguousarray(values, dtype=np.float64)
