"""Agents that work through a workload against any OpenAI-compatible server, and how long their jobs took."""
