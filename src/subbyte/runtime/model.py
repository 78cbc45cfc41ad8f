"""A model in ONNX Runtime: arrays in, arrays out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subbyte.data.preprocessing import Preprocessing, Preset
from subbyte.data.samples import Samples
from subbyte.data.sources import Source, as_samples
from subbyte.data.specs import InputSpec, find_axes
from subbyte.errors import (
    CalibrationError,
    MissingDependencyError,
    ModelFileError,
    OptionError,
    reason,
)
from subbyte.file_kinds import ORT, check_network_file
from subbyte.option_types import checked
from subbyte.runtime.library import find_library, library_path
from subbyte.runtime.metadata import preprocessing_in
from subbyte.runtime.ort import ERRORS, open_session, ort

Engine = Literal["portable", "native"]

_DTYPES: Mapping[str, str] = (
    {
        "tensor(float)": "float32",
        "tensor(float16)": "float16",
        "tensor(double)": "float64",
        "tensor(bool)": "bool",
    }
    | {f"tensor({name})": name for name in ("int8", "int16", "int32", "int64")}
    | {f"tensor({name})": name for name in ("uint8", "uint16", "uint32", "uint64")}
)

# Begins the native library's name of a dimension without a name (native/ort/nodes/shapes.cpp).
_NAMELESS = "subbyte_unknown_"


class Model:
    """A loaded network. Make one with `load`.

    Attributes:
        path: the file it came from.
        engine: "native" or "portable", as `load` says.
        inputs, outputs: name, shape (a free dimension is its name, or None) and dtype.
        session: the ``onnxruntime.InferenceSession`` underneath.
    """

    def __init__(self, path: Path, session: ort.InferenceSession, engine: Engine) -> None:
        self.path = path
        self.engine = engine
        self.session = session
        self.inputs = find_axes(_specs(path, session.get_inputs()))
        self.outputs = _specs(path, session.get_outputs())

    @cached_property
    def preprocessing(self) -> Preprocessing | None:
        """The preprocessing that the file records, with which it was compressed; None if it
        records none.

        `run` takes preprocessed arrays; `samples` applies this to pictures and stored arrays.

        Raises:
            OptionError: a record that subbyte did not write.
        """
        metadata = self.session.get_modelmeta().custom_metadata_map
        return preprocessing_in(metadata, str(self.path))

    def samples(
        self,
        source: Source,
        preprocessing: Preprocessing | Preset | None = None,
        **others: Any,
    ) -> Samples:
        """Samples for this model: ``for batch in model.samples("photos").batches(8): ...``.

        Each batch is a mapping that `run` takes. ``preprocessing``: None is the recorded one.
        ``source`` and ``others`` are as of `subbyte.data.as_samples`, as are the errors.
        """
        return as_samples(source, self.inputs, preprocessing, recorded=self.preprocessing, **others)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return [spec.name for spec in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        return [spec.name for spec in self.outputs]

    def run(
        self, *arrays: ArrayLike | Mapping[str, ArrayLike]
    ) -> NDArray[Any] | tuple[NDArray[Any], ...]:
        """Run the network on a batch.

        Args:
            arrays: one array per input, in order; or one mapping from input name to array.
                They are converted to the dtype that the input asks for.

        Returns:
            The output, or a tuple if the model has several.

        Raises:
            CalibrationError: arrays that do not fit the inputs.
            ModelFileError: ONNX Runtime cannot execute the model.
        """
        feeds = self._feeds(arrays)
        try:
            results = self.session.run(None, feeds)
        except ERRORS as error:
            raise ModelFileError(
                "ONNX Runtime cannot run the model", where=str(self.path), got=reason(error)
            ) from error
        return results[0] if len(results) == 1 else tuple(results)

    def _feeds(
        self, arrays: tuple[ArrayLike | Mapping[str, ArrayLike], ...]
    ) -> dict[str, NDArray[Any]]:
        named: Mapping[str, ArrayLike]
        if len(arrays) == 1 and isinstance(arrays[0], Mapping):
            named = arrays[0]
        else:
            if len(arrays) != len(self.inputs):
                raise CalibrationError(
                    "wrong number of inputs",
                    where=str(self.path),
                    expected=f"{len(self.inputs)} ({', '.join(self.input_names)})",
                    got=len(arrays),
                )
            named = dict(zip(self.input_names, arrays, strict=True))  # type: ignore[arg-type]
        if set(named) != set(self.input_names):
            raise CalibrationError(
                "wrong input names",
                where=str(self.path),
                expected=", ".join(self.input_names),
                got=", ".join(named),
            )
        return {spec.name: self._checked(named[spec.name], spec) for spec in self.inputs}

    def _checked(self, values: ArrayLike, spec: InputSpec) -> NDArray[Any]:
        array = np.asarray(values)
        if array.ndim != len(spec.shape) or any(
            isinstance(want, int) and want != got
            for want, got in zip(spec.shape, array.shape, strict=True)
        ):
            raise CalibrationError(
                f"array does not fit input {spec.name!r}",
                where=str(self.path),
                expected=list(spec.shape),
                got=list(array.shape),
            )
        if array.dtype.kind not in "biuf" or (spec.dtype.kind != "f" and array.dtype.kind == "f"):
            raise CalibrationError(
                f"array for input {spec.name!r} has the wrong dtype",
                where=str(self.path),
                expected=spec.dtype,
                got=array.dtype,
            )
        return np.ascontiguousarray(array, dtype=spec.dtype)


@checked
def load(
    path: str | os.PathLike[str],
    *,
    engine: Engine | None = None,
    threads: int | None = None,
    optimize: bool = True,
) -> Model:
    """Load an ONNX file, compressed or not, for running on the CPU.

    Args:
        path: the file. External data are looked for beside it.
        engine: "native" runs the ``subbyte`` nodes of the file on the kernels of the native
            library; "portable" runs their standard operators, in ONNX Runtime alone. None:
            native where the package has the library. The model's ``engine`` says which.
        threads: threads of one operator; None leaves it to ONNX Runtime (all cores).
        optimize: False leaves the graph as it is. The portable engine then unpacks weights at
            every run, one layer after the other: it takes longer, and a fraction of the memory
            (unpacking all of them at load takes some 60 bytes a weight for a moment).

    Raises:
        ModelFileError: no such file, not ONNX, truncated, more than ONNX Runtime can, or
            ``subbyte`` nodes that the kernels refuse.
        MissingDependencyError: no native library for ``engine="native"``, or one that ONNX
            Runtime cannot use: too old a version, a ``SUBBYTE_ISA`` that this CPU lacks.
        OptionError: an unknown engine, or threads below 1.
    """
    file = Path(path)
    _check_threads(threads)
    _check_file(file)
    chosen = engine or ("portable" if find_library() is None else "native")
    options = session_options(chosen, threads)
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return Model(file, open_session(str(file), options), chosen)
    except ERRORS as error:
        raise ModelFileError(
            "cannot load the model",
            where=str(file),
            expected="an ONNX file",
            got=reason(error),
        ) from error


def session_options(
    engine: Engine, threads: int | None, library: Path | None = None
) -> ort.SessionOptions:
    """Options of a session on ``engine``; raises `MissingDependencyError` as `load` does.

    ``library``: the native one, by default the installed one.
    """
    options = ort.SessionOptions()
    if engine == "native":
        _register(options, library or library_path())
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    return options


def _register(options: ort.SessionOptions, path: Path) -> None:
    try:
        options.register_custom_ops_library(str(path))
    except ERRORS as error:
        raise MissingDependencyError(
            "ONNX Runtime cannot use the native library (engine portable does without)",
            where=str(path),
            got=reason(error),
        ) from error


def _check_threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise OptionError("threads out of range", expected="at least 1", got=threads)


def _check_file(file: Path) -> None:
    check_network_file(file, also=(ORT,))
    try:
        size = file.stat().st_size
        with file.open("rb"):
            pass
    except OSError as error:
        raise ModelFileError(
            "cannot read the model", where=str(file), got=error.strerror or str(error)
        ) from error
    if size == 0:
        raise ModelFileError("model file is empty", where=str(file), expected="an ONNX file")


def _specs(path: Path, arguments: Sequence[ort.NodeArg]) -> tuple[InputSpec, ...]:
    for argument in arguments:
        if argument.type not in _DTYPES:
            raise ModelFileError(
                f"value {argument.name!r} has a type that subbyte does not handle",
                where=str(path),
                expected="a tensor of numbers",
                got=argument.type,
            )
    return tuple(
        InputSpec(argument.name, _dims(argument), np.dtype(_DTYPES[argument.type]))
        for argument in arguments
    )


def _dims(argument: ort.NodeArg) -> tuple[int | str | None, ...]:
    return tuple(None if str(dim).startswith(_NAMELESS) else dim for dim in argument.shape)
