"""The errors that a user can cause, each in one line: problem, place, expected and found.

The command line prints the message and exits with code 2. Only our own bugs raise anything else.
"""

from __future__ import annotations

from collections.abc import Callable

_LONGEST = 4000  # characters of a message of other software; one of a broken graph can be a page
_PREFIX = "[ONNXRuntimeError] : "


def reason(error: BaseException, longest: int = _LONGEST) -> str:
    """The message of ``error``, raised by other software: whole, on one line.

    A message of more than ``longest`` characters is cut there, and says how many are missing. An
    error without a message is the name of its type.
    """
    if isinstance(error, UnicodeDecodeError):
        # The form of a message that quotes a damaged name.
        text = bytes(error.object).decode(errors="replace")
    else:
        text = str(error)
    text = " ".join(text.split()).removeprefix(_PREFIX) or type(error).__name__
    if len(text) <= longest:
        return text
    return f"{text[:longest]} ... ({len(text) - longest} more characters)"


class SubbyteError(Exception):
    """Base of every error that a user's input can cause.

    The message is one line: ``what [where]: expected X, got Y (hint)``. It names options
    between backticks, as Python has them: ```max_drop```, ```tune_linear=0```. The command line
    alone gives them dashes (`spelled`).
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.got = what, where, expected, got
        self.hint = hint
        super().__init__(self.spelled(str))

    def spelled(self, spell: Callable[[str], str]) -> str:
        """The message, with ``spell`` applied to our own words, and not to the ``got`` of a user's
        data."""
        message = f"{self.what} [{self.where}]" if self.where else self.what
        details = [] if self.expected is None else [f"expected {self.expected}"]
        message = spell(": ".join([message, *details]))
        if self.got is not None:
            message += f"{', ' if details else ': '}got {self.got}"
        if self.hint is not None:
            message += f" ({spell(self.hint)})"
        return " ".join(message.split())


class ModelFileError(SubbyteError):
    """The model file cannot be read: missing, truncated, not ONNX, bad external data."""


class UnsupportedOperatorError(SubbyteError):
    """An operator (or one of its attributes or opsets) that the graph reader does not cover."""


class WeightError(SubbyteError):
    """Weights that cannot be coded: NaN or Inf, all zero, an impossible shape."""


class CalibrationError(SubbyteError):
    """Calibration or evaluation data that do not fit: name, shape, dtype, NaN, no samples."""


class RunError(CalibrationError):
    """A node that cannot take the values it gets (sizes, indices out of range), or NaN or Inf
    inside the network, for samples that fit its inputs."""


class OptionError(SubbyteError):
    """An option out of its range, or options that exclude each other."""


class BudgetError(SubbyteError):
    """A budget (bits, size, latency, accuracy) that the network cannot be coded within."""


class TimingsError(SubbyteError):
    """Kernel timings that are not there, or of another CPU or library."""


class AlreadyCompressedError(SubbyteError):
    """The input of ``compress`` already holds subbyte layers."""


class ProofError(SubbyteError):
    """A network to be written that does not do as the float network does.

    An engine cannot open or run it, or the number, shape, type or finiteness of its outputs
    differs.
    """


class OutputError(SubbyteError):
    """The output cannot be written: no such folder, no access, disk full."""


class MissingDependencyError(SubbyteError):
    """A feature whose optional packages are not installed (it names the extra)."""


class PeerError(SubbyteError):
    """A runtime that `bench` compares with cannot take the network."""
