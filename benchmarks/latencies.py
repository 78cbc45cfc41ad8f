"""Plans for a latency against one form for all layers that takes as long, on this machine.

subbyte calibrate-cpu                                       once, while nothing else runs
python -m benchmarks.latencies --keep DIR                   networks that have no record yet
python -m benchmarks.latencies resnet_mid --keep DIR        some, again
python -m benchmarks.latencies --keep DIR --time            only time the kept files again
python -m benchmarks.latencies resnet_mid --keep DIR --trials    only add plans chosen by trial

For every network each of `FORMS` codes all layers but those that are kept at 8 bits by default,
and is timed on the native kernels; then the network is planned and coded as `subbyte compress
--latency` does, for the time of each; with ``--trials`` also as it does with `--trials 4`. Times
count beside that of 8 bits for all layers, as a machine is not equally fast from minute to
minute. All files are timed in turn and judged on test samples: KL against the float network (for
what is no classifier squared error over variance), the mean over the network's seeds
(`LOOKED_UP`). DIR is needed to go on with a run that was stopped.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path

import torch

from benchmarks.network_folder import Change, NetworkFolder, command_line, judged
from benchmarks.records import Record
from subbyte.budgets import Budget
from subbyte.compression.config import CompressOptions
from subbyte.compression.device import repeatable
from subbyte.compression.latency.machine import THIS_MACHINE
from subbyte.compression.latency.model import LatencyModel, latency_model
from subbyte.compression.pipeline import compress_network
from subbyte.compression.planning.by_latency import LatencyPlans
from subbyte.compression.planning.coding_plan import Planned
from subbyte.compression.planning.latency_fit import fitted_model, seconds_of_eight
from subbyte.compression.planning.network_plan import commented_plan
from subbyte.compression.planning.plan_file import planned_layers
from subbyte.compression.planning.search_space import Prices, price
from subbyte.compression.planning.trials import HELD, Trials, best_by_trial
from subbyte.compression.run import Run
from subbyte.compression.validation import Judge, hold_back
from subbyte.data import Samples
from subbyte.errors import BudgetError
from subbyte.graph.weight_layout import output_layers
from subbyte.methods import MethodOptions
from subbyte.methods.product.form import GROUPS, ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
from subbyte.progress import silent
from subbyte.report.system import system
from subbyte.runtime.timings import load_timings

RESULTS = Path(__file__).parent / "results" / "latencies"
# Those with layers that are looked up, and the seeds of their files. Divergences are means: files
# of one plan differ by a fifth from seed to seed. Of the larger ones each file takes minutes.
LOOKED_UP = {
    "resnet_mid": (0, 1, 2),
    "mobilenet_v2_100": (0,),
    "yolo_nano_voc": (0,),
    "espnet": (0,),
}
# What one could choose for a whole network. All gains take the same time, so the finest; and
# weights of 3 bits that of 4.
FORMS: dict[str, MethodOptions] = {
    **{f"d{group}-g4": ProductOptions(group, 16, 4) for group in GROUPS},
    **{f"d{group}-g0": ProductOptions(group, 16, 0) for group in (4, 8)},
    **{f"{bits}-bit": ScalarOptions(bits) for bits in (2, 4, 8)},
}
EIGHT = "8-bit"
_ALLOWED, _CPU = CompressOptions(method=("product", "scalar")), torch.device("cpu")
TRIALS = 4
TURNS = 7
# Files whose times differ by no more than this part count as equally fast.
SPREAD = 0.02


def main() -> int:
    """Measure what the command line asks for."""
    changes = [
        Change("--time", "only time the kept files again", Latencies.timed),
        Change("--trials", "only add plans chosen by trial", Latencies.tried),
    ]
    return command_line("latencies", __doc__, RESULTS, Latencies, _short, changes, LOOKED_UP)


class Latencies(NetworkFolder):
    """The single forms, and the plans for the time of each."""

    def record(self) -> Record:
        """Code, time and judge the single forms and the plans."""
        for name, form in FORMS.items():
            self._code(name, self.form_plan(name, form))
        plans = self._plans("plan", self._least_harm)
        judge = self.judge()
        record: Record = {
            "network": self.row.name,
            "samples": {"calibration": self.count, "judged": len(judge.samples)},
            "forms": [self._judged(judge, name) for name in FORMS],
            "plans": [self._judged(judge, name) | said for name, said in plans.items()],
            "system": system(),
            "packages": {name: metadata.version(name) for name in ("torch", "onnx", "onnx-ir")},
        }
        return self._with_times(record)

    def timed(self, record: Record) -> Record:
        """``record`` with all files timed again."""
        return self._with_times(record | {"system": system()})

    def tried(self, record: Record) -> Record:
        """``record`` with plans chosen by trial."""
        plans = self._plans("tried", self._best_tried)
        judge = self.judge(record["samples"]["judged"])
        found = [self._judged(judge, name) | said for name, said in plans.items()]
        return self.timed(record | {"trials": TRIALS, "tried": found})

    def _code(self, name: str, plan: Path) -> None:
        """Code the network as ``plan`` says, once a seed."""
        for seed in self._seeds:
            path = self._file(name, seed)
            if not path.exists():
                options = CompressOptions(plan=plan, seed=seed)
                compress_network(str(self.source), path, self.fit, options, silent, self.held)

    @property
    def _seeds(self) -> tuple[int, ...]:
        return LOOKED_UP[self.row.name]

    def _file(self, name: str, seed: int = 0) -> Path:
        return self.folder / (f"{name}-seed{seed}.onnx" if seed else f"{name}.onnx")

    def _judged(self, judge: Judge, name: str) -> Record:
        """Means over the seeds, and the divergence of each."""
        rows = [judged(judge, self._file(name, seed), name) for seed in self._seeds]
        found = [row["divergence"] for row in rows]
        classes = [row["agreement"] for row in rows if row["agreement"] is not None]
        return rows[0] | {
            "divergence": statistics.fmean(found),
            "divergences": found,
            "agreement": statistics.fmean(classes) if classes else None,
        }

    def _limits(self) -> dict[str, float]:
        """What to plan for, by the name of the form."""
        return kept_limits(self.folder / "limits.json", lambda: self._latencies(FORMS))

    def _plans(self, kind: str, make: Callable[[float], Planned]) -> dict[str, Record]:
        """Code the network by a plan that ``make`` gives for each limit: what is known of it, by
        its name. None for limits out of reach, as what the fastest form takes may be by chance."""
        made = {}
        for form, limit in self._limits().items():
            name = f"{kind}-{form}"
            plan = self.folder / f"{name}.toml"
            if not plan.exists():
                try:
                    planned = make(limit)
                except BudgetError as error:
                    print(f"{name}: {error}", flush=True)
                    continue
                plan.write_text(commented_plan(planned, planned_layers(self.network)))
            said = next(line for line in plan.read_text().splitlines() if "ms predicted" in line)
            self._code(name, plan)
            made[name] = {"limit": limit, "said": said.removeprefix("# ")}
        return made

    def _least_harm(self, limit: float) -> Planned:
        """The plan for ``limit`` times what 8 bits take."""
        return self._others(limit, self.fit, self._priced).least_harm()

    def _best_tried(self, limit: float) -> Planned:
        """The same with trials."""
        fit, held = hold_back(self.fit, HELD, 0)
        others = self._others(limit, fit, self._priced_part)
        trials = Trials(Run(self.network, fit), Judge(self.network, held, _CPU))
        planned, outputs = others.least_harm(), output_layers(self.network)
        with repeatable():
            return best_by_trial(planned, others, others.prices, outputs, TRIALS, trials.run)

    def _others(
        self, limit: float, samples: Samples, priced: tuple[Prices, LatencyModel]
    ) -> LatencyPlans:
        prices, model = priced
        budget = Budget("latency", limit * 1e3 * seconds_of_eight(model, prices.precise()))
        THIS_MACHINE.rest()
        return LatencyPlans(Run(self.network, samples, _ALLOWED), prices, model, budget)

    @cached_property
    def _priced(self) -> tuple[Prices, LatencyModel]:
        """What every layer may be, and takes: the same for all limits."""
        return self._price(self.fit)

    @cached_property
    def _priced_part(self) -> tuple[Prices, LatencyModel]:
        """The same by the samples that trials code from."""
        return self._price(hold_back(self.fit, HELD, 0)[0])

    def _price(self, samples: Samples) -> tuple[Prices, LatencyModel]:
        run = Run(self.network, samples, _ALLOWED)
        model = latency_model(run, load_timings())
        with repeatable():
            prices = price(run)
        model = fitted_model(run, model, prices)
        return prices.timed(model), model

    def _with_times(self, record: Record) -> Record:
        plans = [*record["plans"], *record.get("tried", [])]
        rows = [*record["forms"], *plans]
        times = self._latencies([row["name"] for row in rows])
        for row in rows:
            row |= times[row["name"]]
        for plan in plans:
            plan["limit_ms"] = round(plan["limit"] * times[EIGHT]["latency_ms"], 4)
        return record | {"to_eight": True}

    def _latencies(self, names: Collection[str]) -> dict[str, Record]:
        """`latencies_to_eight` of the files, over `TURNS` turns of all."""
        samples = self.samples(self.split.calibration)
        paths = [self._file(name) for name in names]
        THIS_MACHINE.rest()
        turns = [THIS_MACHINE.measure_files(paths, samples) for _ in range(TURNS)]
        return latencies_to_eight([dict(zip(names, turn, strict=True)) for turn in turns])


def kept_limits(path: Path, measure: Callable[[], dict[str, Record]]) -> dict[str, float]:
    """The times of the forms to that of 8 bits, of equal ones the first.

    Kept at ``path``, so that a run that goes on has the same.
    """
    if not path.exists():
        limits: dict[str, float] = {}
        times = measure()
        for name, latency in times.items():
            part = latency["latency_ms"] / times[EIGHT]["latency_ms"]
            limit = round((1 + SPREAD / 2) * part, 4)
            if all(abs(limit / other - 1) > SPREAD / 2 for other in limits.values()):
                limits[name] = limit
        path.write_text(json.dumps(limits, indent=1) + "\n")
    found: dict[str, float] = json.loads(path.read_text())
    return found


def latencies_to_eight(turns: Sequence[Mapping[str, float]]) -> dict[str, Record]:
    """Median and quartiles of each file, milliseconds, from the seconds of all files in each turn.

    The ratio of a file's time to the time of 8 bits in the same turn, times the median of the
    times of 8 bits.
    """
    eight = 1e3 * statistics.median(turn[EIGHT] for turn in turns)
    found = {}
    for name in turns[0]:
        parts = [turn[name] / turn[EIGHT] for turn in turns]
        quartiles = statistics.quantiles(parts, n=4)
        low, middle, high = (round(eight * part, 4) for part in quartiles)
        found[name] = {"latency_ms": middle, "quartiles_ms": [low, high]}
    return found


def best_forms(record: Record) -> list[tuple[Record, Record | None, Record | None]]:
    """The forms that no other form beats in as much time, the fastest first; of each the plan
    that is closest to the float network in as much time, and the one by trial; None if there is
    none so fast."""
    forms: list[Record] = sorted(record["forms"], key=lambda row: float(row["latency_ms"]))
    best = [form for form in forms if _closest(forms, form) is form]
    plans, tried = record["plans"], record.get("tried", [])
    return [(form, _closest(plans, form), _closest(tried, form)) for form in best]


def _closest(rows: list[Record], form: Record) -> Record | None:
    """The least divergence in the time of ``form``."""
    limit = (1 + SPREAD) * form["latency_ms"]
    fast = [row for row in rows if row["latency_ms"] <= limit]
    return min(fast, key=lambda row: float(row["divergence"]), default=None)


def _short(record: Record) -> str:
    return "; ".join(
        f"{_figures(form)}, plan {_figures(plan)}"
        + (f", by trial {_figures(tried)}" if "tried" in record else "")
        for form, plan, tried in best_forms(record)
    )


def _figures(row: Record | None) -> str:
    return f"{row['latency_ms']:.3f} ms {row['divergence']:.4f}" if row else "none"


if __name__ == "__main__":
    sys.exit(main())
