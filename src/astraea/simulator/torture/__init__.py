"""Deterministic simulation with faults: a seed expands into a plan, the plan into a run, and the run is judged."""
