"""Nodes of special kinds become the standard nodes that they stand for."""
