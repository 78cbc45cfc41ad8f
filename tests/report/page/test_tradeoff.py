from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from subbyte.errors import OptionError
from subbyte.report.page.tradeoff import read_points

POINT = {"name": "2 bits", "file": "a.onnx", "bits": 2, "bytes": 900, "kl": 0.1, "agreement": 97.5}


def write(folder: Path, *points: dict[str, Any]) -> Path:
    (folder / "points.jsonl").write_text("".join(json.dumps(each) + "\n" for each in points))
    return folder


def test_points_come_by_size(tmp_path: Path) -> None:
    small = POINT | {"name": "1 bit", "bytes": 500, "metric": 90.5, "latency_ms": 0.4}
    found = read_points(write(tmp_path, POINT, small | {"options": {"method": "scalar"}}))
    assert [point["name"] for point in found] == ["1 bit", "2 bits"]
    assert found[0]["metric"] == 90.5
    assert found[0]["options"] == {"method": "scalar"}
    assert found[1]["metric"] is found[1]["latency_ms"] is None
    assert found[1]["options"] == {}


def test_points_without_class_scores(tmp_path: Path) -> None:
    found = read_points(
        write(tmp_path, POINT | {"agreement": None, "lost": None, "plan": "a.toml"})
    )
    assert found[0]["agreement"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "without a name"),
        ({"kl": None}, "point's kl"),
        ({"bytes": "many"}, "point's bytes .*expected a number, got many"),
        ({"bits": True}, "point's bits"),
        ({"latency_ms": float("nan")}, "point's latency_ms"),
        ({"lost": "little"}, "point's lost"),
        ({"file": None}, "point's file"),
        ({"options": 3}, "point's options"),
    ],
)
def test_what_is_wrong_with_a_point(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = write(tmp_path, POINT, POINT | change)
    with pytest.raises(OptionError, match=message) as error:
        read_points(folder)
    assert "line 2" in str(error.value)


def test_unreadable_points(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read the points"):
        read_points(tmp_path)
    (tmp_path / "points.jsonl").write_text("{]\n")
    with pytest.raises(OptionError, match="not JSON"):
        read_points(tmp_path)
    (tmp_path / "points.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match="no text"):
        read_points(tmp_path)
