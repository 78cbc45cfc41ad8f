"""Measurements kept as JSON files, and the tables of the docs made from them."""
