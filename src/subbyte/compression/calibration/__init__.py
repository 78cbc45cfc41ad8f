"""The samples' evidence: inputs of layers as rows, moments, statistics, ranges, table shifts."""
