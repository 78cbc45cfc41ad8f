"""How long a compressed network takes on the native kernels: modelled, and fitted to files."""
