"""The whole trade-off of a network: many budgets in one run, here or on a cluster."""
