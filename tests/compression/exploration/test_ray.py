"""Explorations on a Ray cluster: two nodes on loopback, a worker and a node lost on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import onnx
import pytest

from subbyte.compression.config import CompressOptions
from subbyte.compression.exploration import ray_cluster
from subbyte.compression.exploration.explore import Exploration, explore_network
from subbyte.compression.exploration.points import Point, Task
from subbyte.compression.validation import hold_back
from subbyte.errors import MissingDependencyError, OptionError
from subbyte.progress import silent
from tests import tiny
from tests.compression.nets import classifier, samples_for, smooth_images

IMAGES = smooth_images(64, size=tiny.SIZE)
MODEL = classifier(IMAGES)
BITS = (2.0, 2.5, 3.0, 4.0)
# Seconds until a node that is gone is given up.
SOON = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}


def run(source: Path, folder: Path, **wishes: Any) -> list[Point]:
    samples, points = samples_for(MODEL, IMAGES), Exploration(BITS, latency=False, **wishes)
    return explore_network(source, folder, samples, CompressOptions(), points, silent)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    np.savez(folder / "data.npz", x=IMAGES)
    return tiny.save(MODEL, folder / "net.onnx")


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What local processes leave."""
    folder = tmp_path_factory.mktemp("whole")
    run(source, folder)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head and a node, a CPU each."""
    pytest.importorskip("ray", reason="no ray: pip install 'subbyte[ray]'")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80_000_000}
    head = small | {"include_dashboard": False, "_system_config": SOON}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = Cluster(initialize_head=True, head_node_args=head)
        found.add_node(**small)
        try:
            yield found
        finally:
            found.shutdown()


def start(source: Path, folder: Path, address: str) -> subprocess.Popen[str]:
    """The command, as a user runs it."""
    command = [sys.executable, "-c", "from subbyte.cli import main; main()", "explore"]
    command += [str(source), "--calib", f"{source.parent / 'data.npz'}:x", "-o", str(folder)]
    command += ["--bits", ",".join(map(str, BITS)), "--no-latency", "--executor", "ray"]
    environment = os.environ | {"RAY_ADDRESS": address}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def working(node: Any) -> list[int]:
    """The processes of a node that make a point right now."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            title = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == raylet and title.startswith(b"ray::_make"):
            found.append(int(path.name))
    return found


def wait_for(what: Callable[[], list[int]], program: subprocess.Popen[str]) -> list[int]:
    while not (found := what()):
        assert program.poll() is None, program.communicate()
        time.sleep(0.02)
    return found


def test_a_lost_worker_and_a_lost_node_are_survived(
    cluster: Any, source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    node = cluster.list_all_nodes()[1]
    program = start(source, tmp_path / "points", cluster.address)
    first = wait_for(lambda: working(node), program)
    for number in first:
        os.kill(number, signal.SIGKILL)
    wait_for(lambda: [n for n in working(node) if n not in first], program)
    cluster.remove_node(node, allow_graceful=False)
    assert len(cluster.list_all_nodes()) == 1
    output, errors = program.communicate(timeout=300)
    assert program.returncode == 0, errors
    assert content(tmp_path / "points") == whole
    assert all(f"bits-{bits:.3f}" in output for bits in BITS)

    fails_as_local_processes_do(cluster, source, whole, tmp_path / "again")


def fails_as_local_processes_do(
    cluster: Any, source: Path, whole: dict[str, bytes], folder: Path
) -> None:
    """The error of a point ends the run; the points that were finished stay."""
    folder.mkdir()
    lines = whole["points.jsonl"].splitlines(keepends=True)
    for name, data in (whole | {"points.jsonl": b"".join(lines[:-1])}).items():
        if not name.endswith(".onnx"):
            (folder / name).write_bytes(data)
    bad = folder / f"bits-{BITS[-1]:.3f}.toml"
    bad.write_text('[layers.conv9]\nmethod = "scalar"\nbits = 2\n')
    before = content(folder)
    program = start(source, folder, cluster.address)
    output, errors = program.communicate(timeout=300)
    assert program.returncode == 2
    assert (output, content(folder)) == ("", before)
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert said == [f"error: plan: no such layer in the network [{bad.name}: conv9]"]


def test_a_point_needs_no_file_of_the_driver(
    whole: dict[str, bytes], source: Path, tmp_path: Path
) -> None:
    """The parcel holds all: weights kept outside the model's file, samples, plan, network."""
    folder, model = tmp_path / "points", tmp_path / "model"
    folder.mkdir()
    model.mkdir()
    onnx.save(onnx.load(source), model / "net.onnx", save_as_external_data=True, size_threshold=0)
    fit, held = hold_back(samples_for(MODEL, IMAGES), 0.25, 0)
    name = f"bits-{BITS[0]:.3f}"
    (folder / f"{name}.toml").write_bytes(whole[f"{name}.toml"])
    task = Task(model / "net.onnx", folder, fit, held, CompressOptions())
    parcel, files = ray_cluster._pack(task), ray_cluster._files_of(task, name)
    assert len(parcel.model) > 1
    assert (len(parcel.fit), len(parcel.held)) == (48, 16)
    for path in (*folder.iterdir(), *model.iterdir()):
        path.unlink()
    point, data = ray_cluster._make(parcel, name, files)
    assert data == whole[f"{name}.onnx"]
    assert json.loads(whole["points.jsonl"].splitlines()[0]) == point.to_dict()
    # A network that a stopped run has left is judged, not made again.
    kept = files | {f"{name}.onnx": data}
    assert ray_cluster._make(parcel, name, kept) == (point, data)
    with pytest.raises(OptionError, match=r"another version of subbyte.*expected 0\.0, got"):
        ray_cluster._make(replace(parcel, version="0.0"), name, files)


def test_no_ray(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"`executor=ray`.*'subbyte\[ray\]'"):
        run(source, tmp_path, executor="ray")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("somewhere", "not the address of a Ray cluster.*got somewhere"),
        ("127.0.0.1:port", "no Ray cluster answers"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("127.0.0.1:1", r"no Ray cluster answers \[127.0.0.1:1\].*refused"),
        ("http://127.0.0.1:8265", "not the address of a Ray cluster"),
    ],
)
def test_an_address_without_a_cluster(
    address: str, said: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known before anything is planned, by the option or by the environment."""
    pytest.importorskip("ray", reason="no ray: pip install 'subbyte[ray]'")
    with pytest.raises(OptionError, match=said):
        run(source, tmp_path, executor="ray", ray_address=address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(OptionError, match=said):
        run(source, tmp_path, executor="ray")
    assert list(tmp_path.iterdir()) == []


def test_a_port_of_something_else() -> None:
    """Such as the dashboard's; Ray would try it for a quarter of an hour."""
    pytest.importorskip("ray", reason="no ray: pip install 'subbyte[ray]'")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        with (
            pytest.raises(OptionError, match=f"answers is no Ray cluster .{address}.*head"),
            ray_cluster.connected(address, None),
        ):
            pass
        server.shutdown()


def test_options(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="`ray_address` belongs to `executor=ray`"):
        Exploration(ray_address="127.0.0.1:6379")
    with pytest.raises(OptionError, match=r"unknown `executor`.*processes or ray, got dask"):
        run(source, tmp_path, executor="dask")
