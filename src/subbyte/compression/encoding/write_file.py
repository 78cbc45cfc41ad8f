"""Writing the file from coded weights: activations quantized, tables fitted, all written."""

from __future__ import annotations

import numpy as np
import onnx

from subbyte.compression.calibration.activation_ranges import quantize_activations
from subbyte.compression.calibration.table_shifts import table_shifts
from subbyte.compression.encoding.apply import coded_module
from subbyte.compression.encoding.encoded import Encoded
from subbyte.compression.run import Run
from subbyte.data import Samples
from subbyte.graph.compressed.inline import inline
from subbyte.graph.islands.plan import IslandPlan
from subbyte.graph.quant_params import QuantParams
from subbyte.graph.write.model import write_network


def write_coded(run: Run, encoded: Encoded, unseen: Samples) -> onnx.ModelProto:
    """The file of a network whose layers are coded, as the user wishes for it.

    ``unseen``: samples that they were not coded with, as `table_shifts` needs them."""
    biases = {name: value.numpy().astype(np.float32) for name, value in encoded.biases.items()}
    if run.config.activations == "float":
        # Recorded in the file, where `subbyte inspect` reads it.
        reason = "--activations float"
        written = write_network(run.network, encoded.weights, biases, float_reason=reason)
    else:
        islands, params, shifts = _quantized(run, encoded, unseen)
        written = write_network(
            run.network, encoded.weights, biases, islands, activations=params, table_shifts=shifts
        )
    return inline(written) if run.config.inline else written


def _quantized(
    run: Run, encoded: Encoded, unseen: Samples
) -> tuple[IslandPlan, dict[str, QuantParams], dict[str, int]]:
    """The measurements on the coded network, which is gone when the file is written."""
    module = coded_module(run.network, encoded, run.device)
    islands, params = quantize_activations(run, module)
    shifts = table_shifts(run, module, encoded.weights, islands, params, unseen)
    return islands, params, shifts
