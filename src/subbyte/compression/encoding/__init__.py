"""From a plan to coded weights: layer by layer, then tuned, then written."""
