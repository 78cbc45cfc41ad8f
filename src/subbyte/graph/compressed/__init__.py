"""Compressed files read again: inlined for other runtimes, or as modules that learn on."""
