"""The pure rules: no clock, no chance, no I/O, integers only. ``core.Scheduler`` puts them together."""
