"""One thread and no telemetry, before anything heavy is imported."""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import torch

# Tests run side by side: more threads than cores only make them slower and less even.
torch.set_num_threads(1)
