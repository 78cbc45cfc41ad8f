"""The kernels of the native library through its C interface. Needs numpy, nothing else."""
