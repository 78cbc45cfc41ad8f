"""Plans carried out on a part of the samples, to see what they do on the rest."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from subbyte.compression.checkpoint import Checkpoints
from subbyte.compression.config import CompressOptions
from subbyte.compression.encoding.layerwise import LayerwiseEncoder
from subbyte.compression.encoding.write_file import write_coded
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.validation import Judge, Score
from subbyte.data import Samples
from subbyte.graph.network import Network
from subbyte.progress import Progress, silent


class Trials:
    """Compresses ``network`` with ``samples``, without tuning, and has the file judged."""

    def __init__(
        self,
        network: Network,
        samples: Samples,
        judge: Judge,
        options: CompressOptions,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self._network, self._samples, self._judge = network, samples, judge
        self._options, self._device, self._progress = options, device, progress
        self._count = 0

    def run(self, planned: Planned) -> Score:
        """Carry a plan out."""
        self._count += 1
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints(Path(folder), "trial", keep=True)
            sequence = LayerwiseEncoder(
                self._network,
                self._samples,
                planned.plan,
                self._options.seed,
                self._device,
                checkpoints,
                self._step,
            )
            encoded = sequence.run()
            del sequence
            written = write_coded(
                self._network, self._samples, self._options, self._device, encoded, silent
            )
            path = Path(folder) / "trial.onnx"
            path.write_bytes(written.SerializeToString())
            return self._judge.score(path)

    def _step(self, stage: str, done: int, total: int, detail: str) -> None:
        self._progress(f"trial {self._count}", done, total, detail)
