"""The one place where ONNX Runtime is imported, with its telemetry off.

Since version 1.29 the official packages of ONNX Runtime write an identifier and a
database of events below the user's cache folder and send them to Microsoft. The
environment variable ``ORT_DISABLE_TELEMETRY=1``, set before the import, stops all of it;
a value that the user has set is left alone.
"""

from __future__ import annotations

import os

# Has to come before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

if os.environ["ORT_DISABLE_TELEMETRY"] not in ("", "0"):
    # Covers the case that somebody imported onnxruntime before this module did.
    ort.disable_telemetry_events()

# ONNX Runtime's errors have no common base class.
ERRORS: tuple[type[Exception], ...] = tuple(
    getattr(_state, name)
    for name in (
        "EPFail",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoModel",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
)

__all__ = ["ERRORS", "ort"]
