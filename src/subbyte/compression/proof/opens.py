"""Whether ONNX Runtime can open the file to be written, before anything is calibrated."""

from __future__ import annotations

from pathlib import Path

from subbyte.compression.proof.float_outputs import MOST_SERIALIZED, Source, model_file
from subbyte.errors import ModelFileError, ProofError, SubbyteError, reason
from subbyte.graph.network import Network
from subbyte.graph.write.model import write_network
from subbyte.runtime.ort import ERRORS, open_session, ort


def check_opens(network: Network, source: Source) -> None:
    """Refuse a network that ONNX Runtime opens neither as it is nor as it would be written.

    ``network``: as it was read from ``source``. One that computes in a type that ONNX Runtime has
    no kernels for may well be written in another.

    Raises:
        ModelFileError: with all that ONNX Runtime says of the source.
    """
    try:
        with model_file(source) as path:
            open_session(str(path), _unoptimized())
    except SubbyteError:
        # A model in memory that fits no file cannot be judged so.
        return
    except ERRORS as error:
        if not _written_opens(network):
            raise ModelFileError(
                "ONNX Runtime cannot open the network",
                where=str(source) if isinstance(source, (str, Path)) else network.name,
                expected="one that it can run on the CPU, or the network cut before what it cannot",
                got=reason(error),
            ) from error


def _written_opens(network: Network) -> bool:
    try:
        model = write_network(network, {})
    except ProofError:
        return False
    if model.ByteSize() > MOST_SERIALIZED:
        return True
    try:
        open_session(model.SerializeToString(), _unoptimized())
    except ERRORS:
        return False
    return True


def _unoptimized() -> ort.SessionOptions:
    """Session options without the optimizer: it takes long on large networks, and is not the
    question."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options
