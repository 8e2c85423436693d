"""What SageMaker's scikit-learn container does where a program has no `input_fn`, `predict_fn` or `output_fn`.

CSV and JSON become numpy arrays of float32 with at least two axes, `predict` is called, and the answer is written as the
request's Accept asks.
"""

import io
import json
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.rows import shown

_NUMERIC = b"0123456789+-.eE, \n"


def input_fn(body: bytes | str, content_type: str) -> NDArray[Any]:
    """Decode text/csv, application/json or application/x-npy. Raises RequestError (415, 400)."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            array = np.array(orjson.loads(body), dtype=np.float32)
        elif kind == "text/csv":
            array = _read_csv(body if isinstance(body, str) else body.decode())
        elif kind == "application/x-npy":
            array = np.load(io.BytesIO(body if isinstance(body, bytes) else body.encode()), allow_pickle=False)
        else:
            raise RequestError(
                415,
                message=f"Content-Type {shown(kind)} is not supported; supported: application/json, text/csv, application/x-npy",
            )
    except (ValueError, TypeError, EOFError) as problem:
        raise RequestError(400, message=f"the body can't be read as {kind}: {problem}") from problem
    return array.reshape(1, -1) if array.ndim == 1 else array


def _read_csv(text: str) -> NDArray[np.float32]:
    """Rows of numbers; an empty cell is NaN, as numpy.genfromtxt has it. Raises ValueError for what is no number."""
    data = text.encode().replace(b"\r\n", b"\n").strip(b"\n")
    if data and not data.translate(None, _NUMERIC):
        try:
            # A JSON parser reads numbers several times faster than genfromtxt.
            return np.array(orjson.loads(b"[[" + data.replace(b"\n", b"],[") + b"]]"), dtype=np.float32)
        except ValueError:
            pass
    rows = [[_number(cell) for cell in line.split(",")] for line in data.decode().split("\n")]
    return np.array(rows, dtype=np.float64).astype(np.float32)


def _number(cell: str) -> float:
    return float(cell) if cell.strip() else float("nan")


def predict_fn(data: NDArray[Any], model: Any) -> Any:
    """Ask the model's `predict`."""
    return model.predict(data)


def output_fn(prediction: Any, accept: str) -> tuple[bytes, str]:
    """Encode as the client accepts: JSON, CSV or npy. Raises RequestError (406)."""
    for offer in accept.split(","):
        kind = offer.partition(";")[0].strip().lower()
        if kind in ("application/json", "application/*", "*/*"):
            return _json(prediction), "application/json"
        if kind in ("text/csv", "text/*"):
            return _csv(np.asarray(prediction)), "text/csv"
        if kind == "application/x-npy":
            return _npy(np.asarray(prediction)), "application/x-npy"
    raise RequestError(
        406,
        message=f"Accept {shown(accept)} can't be answered; supported: application/json, text/csv, application/x-npy",
    )


def _json(prediction: Any) -> bytes:
    if isinstance(prediction, np.ndarray):
        prediction = prediction.tolist()
    try:
        return orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return json.dumps(prediction, default=_plain).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} can't be written as JSON; give the program an output_fn")


def _csv(array: NDArray[Any]) -> bytes:
    """One line for each row, as numpy.savetxt writes them with the format %s."""
    rows = array.reshape(-1, 1) if array.ndim < 2 else array
    return "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
