"""Store a model's weights in half precision; the model is still computed in single."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import numpy_helper

from facegen_training.fitting.start import HALF

LEAST_VALUES = 256
"""Smaller tensors stay as they are: constants and scales weigh nothing."""
_MOST = float(np.finfo(np.float16).max)


def store_in_half(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Replace large single-precision weights by half-precision ones, each with a cast behind it.

    Parameters
    ----------
    model
        Changed in place.
    names
        Of the trained weights: the geometry of sampling, among the other constants, stays exact.

    Notes
    -----
    Whoever opens the file folds the casts away once: memory and speed are those of the other file.
    A tensor with values beyond what half precision holds is left alone.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.name not in names:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < LEAST_VALUES or not (np.abs(values) <= _MOST).all():
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + HALF))
        casts.append(
            onnx.helper.make_node("Cast", [name + HALF], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
