"""What people want to know about a model: how accurate, how large, how fast."""

from subbyte.report.benchmark import bench
from subbyte.report.evaluation import evaluate
from subbyte.report.inspection import inspect

__all__ = ["bench", "evaluate", "inspect"]
