"""Pages of the docs and tables of the README, made of the records."""
