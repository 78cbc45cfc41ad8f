"""Preparation: passes over the graph that leave only the forms that the rest of subbyte knows."""
