"""The reference executor: a real model under the scheduler, with paged KV and host swap.

It needs what ``pip install "astraea[executor]"`` brings.
"""
