"""Estimates from few samples: sums over rows, and how far their moments are to be trusted."""
