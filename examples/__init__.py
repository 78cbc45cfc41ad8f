"""Programs that show the whole way through subbyte."""
