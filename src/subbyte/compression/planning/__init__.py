"""Which way each layer is coded, under a budget of bytes, of time or of accuracy."""
