"""A written file is opened, run and compared with the float network before it has its name."""
