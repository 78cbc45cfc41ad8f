"""Checks of this repository that no published tool makes."""
