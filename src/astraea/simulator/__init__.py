"""Replays agent work through the scheduler on a virtual clock; holds no scheduling rule of its own."""
