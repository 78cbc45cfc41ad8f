"""What the samples say: inputs of layers as rows, moments, statistics, ranges, table shifts."""
