"""Load a model and run it. Needs numpy and onnxruntime, nothing else."""

from subbyte.runtime.library import library_path, native_isa
from subbyte.runtime.model import Engine, Model, load

__all__ = ["Engine", "Model", "library_path", "load", "native_isa"]
