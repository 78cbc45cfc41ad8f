"""How long a layer takes on this machine's kernels: measured once, then predicted.

Every format of weights (`KernelFormat`) is timed on a small grid of layers, on one thread. Its time
is then a sum of a few quantities of the layer, each with a price that is not negative:

    time = c0 + c1 * outputs + c2 * tables (look-up) or inputs (int8) or binarized values
              + c3 * look-ups, multiply-adds or words of signs + c4 * packed weights

fitted by least squares of the relative error. The terms follow from the kernels' stages
(docs/kernel-derivations.md): finish, build, accumulate, read weights. (Ours.)
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.cpu import cpu_name
from subbyte.errors import OutputError, TimingsError
from subbyte.files import read_regular, write_atomic
from subbyte.progress import Progress, silent
from subbyte.runtime.grid import (
    ALL_FORMATS,
    DEPTHWISE,
    format_names,
    grid,
    price_name,
    products,
    terms,
)
from subbyte.runtime.library import library_path, native_isa
from subbyte.runtime.native.kernels import Kernels
from subbyte.runtime.native.layers import KernelFormat, LayerSize

CACHE_VARIABLE = "SUBBYTE_CACHE"

_FORMAT = 3
_FILE = "timings.json"
_ROUNDS = 5
_LEAST_SECONDS = 1e-3


@dataclass(frozen=True)
class Timings:
    """The prices of each format on one machine.

    ``prices``: seconds of each term, by name of the form. ``errors``: the median and the largest
    relative error on the grid. ``cpu``, ``isa``, ``library``: the machine and the library that were
    measured.
    """

    cpu: str
    isa: str
    library: str
    prices: Mapping[str, tuple[float, ...]]
    errors: Mapping[str, tuple[float, float]]

    def seconds(self, size: LayerSize, form: KernelFormat) -> float:
        """Predicted time of one sample through the layer, on one thread.

        Raises:
            TimingsError: a format that `calibrate` does not time.
        """
        name = price_name(size, form)
        if name not in self.prices:
            raise TimingsError(
                "no kernel timings for this way to code a layer",
                expected=", ".join(format_names()),
                got=name,
            )
        return float(np.dot(terms(size, form), self.prices[name]))

    def ceiling(self, name: str) -> float | None:
        """10^9 multiply-adds a second of a format, were there nothing but its inner loop.

        None for streamed weights: their time is not made of an inner loop.
        """
        count = next((products(form) for form in ALL_FORMATS if form.name == name), None)
        price = self.prices[name][3]
        return count / price / 1e9 if count is not None and price > 0 else None

    def document(self) -> dict[str, Any]:
        """The timings as JSON keeps them."""
        return {
            "format": _FORMAT,
            "cpu": self.cpu,
            "isa": self.isa,
            "library": self.library,
            "forms": {
                name: {
                    "prices": list(prices),
                    "median_error": self.errors[name][0],
                    "largest_error": self.errors[name][1],
                }
                for name, prices in self.prices.items()
            },
        }


def measure(call: Callable[[], None]) -> float:
    """The least mean seconds of ``call`` over a few rounds: other work only adds to a time."""
    call()
    start = time.perf_counter()
    call()
    calls = max(1, int(_LEAST_SECONDS / max(time.perf_counter() - start, 1e-9)))
    best = np.inf
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter() - start) / calls)
    return float(best)


@dataclass(frozen=True)
class Measured:
    """The things that timings hold for: CPU, instruction set, and a digest of the library."""

    cpu: str
    isa: str
    library: str


def measured_here() -> Measured:
    """This machine and the installed library.

    Raises:
        MissingDependencyError: a package without the native library.
    """
    digest = sha256(library_path().read_bytes()).hexdigest()[:16]
    return Measured(cpu_name(), native_isa(), digest)


def calibrate(
    progress: Progress = silent,
    kernels: Kernels | None = None,
    here: Measured | None = None,
    measure: Callable[[Callable[[], None]], float] = measure,
) -> Timings:
    """Time the grid, on one thread: less than a minute where nothing else runs.

    ``progress`` is called with ("Layers", layers timed, layers in all, ""). ``kernels``: to time,
    by default the ones of the installed library; ``here``: the machine; ``measure``: the clock.

    Raises:
        MissingDependencyError: a package without the native library.
    """
    kernels, here = kernels or Kernels(), here or measured_here()
    cases = grid()
    points: dict[str, list[tuple[NDArray[np.float64], float]]] = {}
    for number, (size, form) in enumerate(cases):
        progress("Layers", number, len(cases), "")
        seconds = measure(kernels.prepare(size, form))
        points.setdefault(price_name(size, form), []).append((terms(size, form), seconds))
    progress("Layers", len(cases), len(cases), "")
    prices, errors = {}, {}
    for name, found in points.items():
        rows, times = np.array([t for t, _ in found]), np.array([s for _, s in found])
        prices[name] = fit(rows, times)
        apart = np.abs(rows @ prices[name] / times - 1)
        errors[name] = (round(float(np.median(apart)), 4), round(float(apart.max()), 4))
    return Timings(here.cpu, here.isa, here.library, prices, errors)


def fit(rows: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, ...]:
    """Prices c >= 0 with the least sum of (rows @ c / seconds - 1)^2.

    Exact: the best least-squares solution over all subsets of the few terms that has no
    negative price.
    """
    scaled = rows / seconds[:, None]
    wanted = np.ones(len(seconds))
    best, least = np.zeros(rows.shape[1]), np.inf
    for count in range(1, rows.shape[1] + 1):
        for chosen in itertools.combinations(range(rows.shape[1]), count):
            part = scaled[:, chosen]
            norms = np.linalg.norm(part, axis=0)
            found = np.linalg.lstsq(part / norms, wanted, rcond=None)[0] / norms
            lost = float(np.square(part @ found - wanted).sum())
            if found.min() >= 0 and lost < least:
                best, least = np.zeros(rows.shape[1]), lost
                best[list(chosen)] = found
    return tuple(float(c) for c in best)


def cache_path() -> Path:
    """Where the table of this machine is kept: ``SUBBYTE_CACHE``, or the user's cache folder."""
    if CACHE_VARIABLE in os.environ:
        return Path(os.environ[CACHE_VARIABLE]) / _FILE
    if sys.platform == "darwin":
        home = str(Path.home() / "Library" / "Caches")
    else:
        home = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(home) / "subbyte" / _FILE


def make_cache() -> Path:
    """`cache_path`, in a folder that is there.

    Raises:
        OutputError: the folder cannot be made.
    """
    path = cache_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "cannot make the folder of kernel timings",
            where=str(path.parent),
            expected=f"a folder named by {CACHE_VARIABLE}, or -o FILE.json",
            got=error.strerror,
        ) from error
    return path


def save(timings: Timings, path: Path) -> None:
    """Write a table; makes the folder of the user's cache."""
    if path == cache_path():
        make_cache()
    write_atomic(path, (json.dumps(timings.document(), indent=1) + "\n").encode())


def load_timings(
    path: str | os.PathLike[str] | None = None, here: Measured | None = None
) -> Timings:
    """The table at ``path``, or this machine's own; ``here``: the machine to be of.

    Raises:
        TimingsError: none there, unreadable, or of another CPU, instruction set or library.
    """
    file = cache_path() if path is None else Path(path)
    try:
        timings = _parse(json.loads(read_regular(file).decode()))
    except OSError as error:
        raise _calibrate_first("no table of kernel timings", file, error.strerror) from error
    except (KeyError, TypeError, ValueError) as error:
        raise _calibrate_first("not a table of kernel timings", file, _short(error)) from error
    for name, value in asdict(here or measured_here()).items():
        if getattr(timings, name) != value:
            raise TimingsError(
                f"kernel timings are of another {name}: run `subbyte calibrate-cpu` again",
                where=str(file),
                expected=value,
                got=getattr(timings, name),
            )
    return timings


def _parse(document: Any) -> Timings:
    if document["format"] != _FORMAT:
        raise ValueError(f"format {document['format']}")
    forms: dict[str, dict[str, Any]] = document["forms"]
    missing = set(format_names()) - set(forms)
    if missing:
        raise ValueError(f"no timings of {min(missing)}, and of {len(missing) - 1} other formats")
    return Timings(
        str(document["cpu"]),
        str(document["isa"]),
        str(document["library"]),
        {name: _prices(table["prices"], name) for name, table in forms.items()},
        {name: (table["median_error"], table["largest_error"]) for name, table in forms.items()},
    )


def _prices(values: Sequence[Any], name: str) -> tuple[float, ...]:
    prices = tuple(float(value) for value in values)
    if len(prices) != (4 if name == DEPTHWISE else 5) or not all(0 <= p < 1 for p in prices):
        raise ValueError(f"prices of {name}")
    return prices


def _short(error: Exception) -> str:
    """The message without the decoded text, which may be a whole file."""
    return f"{type(error).__name__}: {error}"


def _calibrate_first(what: str, path: Path, reason: str | None) -> TimingsError:
    return TimingsError(f"{what}: run `subbyte calibrate-cpu`", where=str(path), got=reason)
