"""The evaluation against every rival: what is run, how it is kept, and the page that is made of it.

``benchmarks/evaluate.py`` is the command. Nothing here decides anything for the scheduler: variants of Astraea's own
policy stand behind the documented protocol, and every run goes through the simulator's own driver.
"""
