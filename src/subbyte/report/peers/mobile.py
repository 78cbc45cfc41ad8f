"""ncnn: the float network, converted by pnnx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from subbyte.errors import PeerError, reason
from subbyte.report.peers.source import Bind, Source

_LONGEST = 600.0  # seconds a conversion may take
_MOST_SAID = 300  # characters of its output, which lists every operator


def fp32(source: Source) -> Bind:
    """Weights and arithmetic in float32; ncnn has no batch dimension, so a batch must be 1."""
    import ncnn  # noqa: F401 - missing, it is named before anything is converted

    shapes = [array.shape for array in source.samples[0].values()]
    if any(array.dtype != np.float32 for array in source.samples[0].values()) or any(
        not shape or shape[0] != 1 for shape in shapes
    ):
        raise PeerError("ncnn takes float32 inputs with a batch of 1", where=str(source.path))
    stem = _convert(source)
    _try_apart(stem, source)
    return _binding(stem, source.threads)


def _binding(stem: Path, threads: int) -> Bind:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)
    if net.load_param(f"{stem}.ncnn.param") or net.load_model(f"{stem}.ncnn.bin"):
        raise PeerError("ncnn cannot load the network that pnnx made")
    outputs = list(net.output_names())

    def bind(feeds: Any) -> Any:
        # pnnx names the inputs in0, in1 ... in the network's order.
        arrays = [np.ascontiguousarray(array[0]) for array in feeds.values()]
        inputs = [(f"in{i}", ncnn.Mat(array)) for i, array in enumerate(arrays)]

        def call(keep: object = arrays) -> list[Any]:
            extractor = net.create_extractor()
            for name, matrix in inputs:
                extractor.input(name, matrix)
            found = [extractor.extract(name) for name in outputs]
            if any(code for code, _ in found):
                raise PeerError("ncnn cannot compute the outputs")
            return [np.array(matrix)[None] for _, matrix in found]

        return call

    return bind


def _convert(source: Source) -> Path:
    import pnnx

    stem = source.folder / "ncnn"
    link = stem.with_suffix(".onnx")
    # pnnx writes beside its input.
    link.write_bytes(source.path.read_bytes())
    shapes = ",".join(
        "[" + ",".join(map(str, array.shape)) + "]" for array in source.samples[0].values()
    )
    command = [pnnx.EXEC_PATH, str(link), f"inputshape={shapes}", "fp16=0"]
    _run(command, source, "pnnx cannot convert the network")
    return stem


def _try_apart(stem: Path, source: Source) -> None:
    """Run a sample in a process of its own: a layer that ncnn lacks may end the process."""
    sample = stem.with_suffix(".npz")
    np.savez(sample, *source.samples[0].values())
    command = [sys.executable, "-m", __name__, str(stem), str(sample)]
    _run(command, source, "ncnn cannot run the network")


def _run(command: list[str], source: Source, failure: str) -> None:
    try:
        subprocess.run(
            command,
            cwd=source.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="replace",
            check=True,
            timeout=_LONGEST,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerError(failure, where=str(source.path), got=_said(error)) from error


def _said(error: Exception) -> str:
    """How a program ended, and the last line that it printed: the place of its failure."""
    if isinstance(error, subprocess.CalledProcessError):
        code = error.returncode
        how = f"ended by signal {-code}" if code < 0 else f"exit status {code}"
    elif isinstance(error, subprocess.TimeoutExpired):
        how = f"no end after {error.timeout:.0f} seconds"
    else:
        return reason(error)
    text = (
        error.output.decode(errors="replace") if isinstance(error.output, bytes) else error.output
    )
    last = " ".join((text or "").split())[-_MOST_SAID:]
    return f"{how}, the output ends with: {last}" if last else how


def _main(stem: str, sample: str) -> None:
    try:
        with np.load(sample) as arrays:
            _binding(Path(stem), 1)(dict(arrays))()
    # Of any exception, name and message are all that the calling process can show.
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {reason(error)}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
