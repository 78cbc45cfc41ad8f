"""The one place where ONNX Runtime is imported, with its telemetry off.

Since version 1.29 the official packages of ONNX Runtime write an identifier and a
database of events below the user's cache folder and send them to Microsoft. The
environment variable ``ORT_DISABLE_TELEMETRY=1``, set before the import, stops all of it;
a value that the user has set is left alone.
"""

from __future__ import annotations

import os
from functools import cache

# Has to come before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

if os.environ["ORT_DISABLE_TELEMETRY"] not in ("", "0"):
    # Covers the case that somebody imported onnxruntime before this module did.
    ort.disable_telemetry_events()

# ONNX Runtime's errors have no common base class. The last one stands for a message
# that quotes a damaged name.
ERRORS: tuple[type[Exception], ...] = (
    _state.EPFail,
    _state.Fail,
    _state.InvalidArgument,
    _state.InvalidGraph,
    _state.InvalidProtobuf,
    _state.NoModel,
    _state.NoSuchFile,
    _state.NotImplemented,
    _state.RuntimeException,
    UnicodeDecodeError,
)


def open_session(model: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """A session on the CPU for a file (path) or a serialized model; raises one of `ERRORS`."""
    # Errors arrive as exceptions; the log would print them a second time.
    options.log_severity_level = 4
    # Without this, a failure is announced on stdout and then tried again.
    return ort.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


@cache
def known_operators() -> frozenset[tuple[str, str]]:
    """(domain, operator) of everything that the installed ONNX Runtime knows."""
    schemas = _state.get_all_operator_schema()
    return frozenset((schema.domain, schema.name) for schema in schemas)


__all__ = ["ERRORS", "known_operators", "open_session", "ort"]
