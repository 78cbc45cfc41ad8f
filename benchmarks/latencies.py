"""Plans for a latency against one form for all layers that takes as long, on this machine.

subbyte calibrate-cpu                                       once, while nothing else runs
python -m benchmarks.latencies --keep DIR                   networks that have no record yet
python -m benchmarks.latencies resnet_mid --keep DIR        some, again
python -m benchmarks.latencies --keep DIR --time            only time the kept files again

For every network each of `FORMS` codes all layers but those that are kept at 8 bits by default,
and is timed on the native kernels; then the network is planned and coded as `subbyte compress
--latency` does, for the time of each. Times count beside that of 8 bits for all layers, as a
machine is not equally fast from minute to minute. All files are timed in turn and judged on test
samples: KL against the float network (for what is no classifier squared error over variance),
the mean over the network's seeds (`LOOKED_UP`). DIR is needed to go on with a run that was
stopped.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Collection
from functools import cached_property
from importlib import metadata
from pathlib import Path

import torch

from benchmarks.network_folder import Change, NetworkFolder, command_line, judged, silent
from benchmarks.records import Record
from subbyte.budgets import Budget
from subbyte.compress.device import repeatable
from subbyte.compress.encode import LayerOptions
from subbyte.compress.held import Judge
from subbyte.compress.latency import LatencyModel, latency_model, measure_files, rest
from subbyte.compress.latency_fit import fitted_model, seconds_of_eight
from subbyte.compress.options import CompressOptions
from subbyte.compress.pipeline import compress_network
from subbyte.compress.plan import plan_latency
from subbyte.compress.plan_text import plan_text
from subbyte.compress.prices import Prices, price
from subbyte.errors import BudgetError
from subbyte.methods.product.form import GROUPS, ProductOptions
from subbyte.methods.scalar.form import ScalarOptions
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
FORMS: dict[str, LayerOptions] = {
    **{f"d{group}-g4": ProductOptions(group, 16, 4) for group in GROUPS},
    **{f"d{group}-g0": ProductOptions(group, 16, 0) for group in (4, 8)},
    **{f"{bits}-bit": ScalarOptions(bits) for bits in (2, 4, 8)},
}
EIGHT = "8-bit"
METHODS = ("product", "scalar")
TURNS = 7
# Files whose times differ by no more than this part count as equally fast.
SPREAD = 0.02


def main() -> int:
    """Measure what the command line asks for."""
    again = Change("--time", "only time the kept files again", Latencies.timed)
    return command_line("latencies", __doc__, RESULTS, Latencies, _short, [again], LOOKED_UP)


class Latencies(NetworkFolder):
    """The single forms, and the plans for the time of each."""

    def record(self) -> Record:
        """Code, time and judge the single forms and the plans."""
        for name, form in FORMS.items():
            self._code(name, self.form_plan(name, form))
        limits = self._limits()
        plans = {name: said for name in limits if (said := self._plan(name, limits[name]))}
        judge = self.judge()
        record: Record = {
            "network": self.row.name,
            "samples": {"calibration": self.count, "judged": len(judge.samples)},
            "forms": [self._judged(judge, name) for name in FORMS],
            "plans": [
                self._judged(judge, name) | {"limit": limits[name], "said": said}
                for name, said in plans.items()
            ],
            "system": system(),
            "packages": {name: metadata.version(name) for name in ("torch", "onnx", "onnx-ir")},
        }
        return self._with_times(record)

    def timed(self, record: Record) -> Record:
        """``record`` with all files timed again."""
        return self._with_times(record | {"system": system()})

    def _code(self, name: str, plan: Path) -> None:
        """Code the network as ``plan`` says, once a seed."""
        for seed in self._seeds:
            path = self._file(name, seed)
            if not path.exists():
                options = CompressOptions(plan=plan, seed=seed)
                compress_network(str(self.source), path, self.fit, options, silent)

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
        """What to plan for, by the name of the plan: the times of the forms to that of 8 bits, of
        equal ones the first. Kept, so that a run that goes on has the same."""
        path = self.folder / "limits.json"
        if not path.exists():
            limits: dict[str, float] = {}
            times = self._latencies(FORMS)
            for name, latency in times.items():
                part = latency["latency_ms"] / times[EIGHT]["latency_ms"]
                limit = round((1 + SPREAD / 2) * part, 4)
                if all(abs(limit / other - 1) > SPREAD / 2 for other in limits.values()):
                    limits[f"plan-{name}"] = limit
            path.write_text(json.dumps(limits, indent=1) + "\n")
        found: dict[str, float] = json.loads(path.read_text())
        return found

    def _plan(self, name: str, limit: float) -> str | None:
        """Code the network by the plan for ``limit`` times what 8 bits take: what the plan says of
        its time, None if that is out of reach, as what the fastest form takes may be by chance."""
        plan = self.folder / f"{name}.toml"
        if not plan.exists():
            options = CompressOptions(methods=METHODS)
            prices, model = self._prices
            eight = 1e3 * seconds_of_eight(model, prices.precise())
            budget = Budget("latency", limit * eight)
            rest()
            try:
                planned = plan_latency(self.network, prices, model, self.fit, options, budget)
            except BudgetError as error:
                print(f"{name}: {error}", flush=True)
                return None
            plan.write_text(plan_text(planned, prices.layers))
        said = next(line for line in plan.read_text().splitlines() if "ms predicted" in line)
        self._code(name, plan)
        return said.removeprefix("# ")

    @cached_property
    def _prices(self) -> tuple[Prices, LatencyModel]:
        """What every layer may be, and takes: the same for all limits."""
        cpu, options = torch.device("cpu"), CompressOptions(methods=METHODS)
        model = latency_model(self.network, self.fit, cpu, load_timings())
        with repeatable():
            prices = price(self.network, self.fit, options, cpu, silent)
        model = fitted_model(self.network, model, prices, self.fit, options, silent)
        return prices.timed(model), model

    def _with_times(self, record: Record) -> Record:
        rows = [*record["forms"], *record["plans"]]
        times = self._latencies([row["name"] for row in rows])
        for row in rows:
            row |= times[row["name"]]
        for plan in record["plans"]:
            plan["limit_ms"] = round(plan["limit"] * times[EIGHT]["latency_ms"], 4)
        return record

    def _latencies(self, names: Collection[str]) -> dict[str, Record]:
        """Median and quartiles of each file over `TURNS` turns of all, milliseconds."""
        samples = self.samples(self.split.calibration)
        taken: dict[str, list[float]] = {name: [] for name in names}
        rest()
        for _ in range(TURNS):
            turn = measure_files([self._file(name) for name in names], samples)
            for name, seconds in zip(names, turn, strict=True):
                taken[name].append(1e3 * seconds)
        found = {}
        for name, times in taken.items():
            low, middle, high = (round(t, 4) for t in statistics.quantiles(times, n=4))
            found[name] = {"latency_ms": middle, "quartiles_ms": [low, high]}
        return found


def best_forms(record: Record) -> list[tuple[Record, Record | None]]:
    """The forms that no other form beats in as much time, the fastest first; of each the plan
    that is closest to the float network in as much time, None if there is none so fast."""
    forms: list[Record] = sorted(record["forms"], key=lambda row: float(row["latency_ms"]))
    best = [form for form in forms if _closest(forms, form) is form]
    return [(form, _closest(record["plans"], form)) for form in best]


def _closest(rows: list[Record], form: Record) -> Record | None:
    """The least divergence in the time of ``form``."""
    limit = (1 + SPREAD) * form["latency_ms"]
    fast = [row for row in rows if row["latency_ms"] <= limit]
    return min(fast, key=lambda row: float(row["divergence"]), default=None)


def _short(record: Record) -> str:
    lower = (
        f"{form['name']} {form['latency_ms']:.3f} ms {form['divergence']:.4f}, plan "
        + ("none" if plan is None else f"{plan['latency_ms']:.3f} ms {plan['divergence']:.4f}")
        for form, plan in best_forms(record)
    )
    return "; ".join(lower)


if __name__ == "__main__":
    sys.exit(main())
