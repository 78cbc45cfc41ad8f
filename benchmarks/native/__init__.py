"""Single layers: cases, peers, ceilings and timing of `benchmarks.native_layers`."""
