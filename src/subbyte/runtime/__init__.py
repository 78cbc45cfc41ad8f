"""Load a model and run it. Needs numpy and onnxruntime, nothing else."""

from subbyte.runtime.model import Engine, Model, load

__all__ = ["Engine", "Model", "load"]
