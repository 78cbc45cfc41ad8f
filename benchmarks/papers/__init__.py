"""Reproductions of the papers, one module each; results are JSON files."""
