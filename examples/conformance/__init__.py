"""Schedulers of others as adapters for ``astraea.testing``; ``python -m examples.conformance`` examines them."""
