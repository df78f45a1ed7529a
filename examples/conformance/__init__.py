"""Schedulers that are not ours, as adapters for ``astraea.testing``; ``python -m examples.conformance`` examines them."""
