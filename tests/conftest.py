"""How hypothesis searches: the same way everywhere by day, further and elsewhere each night.

And one option: ``--rewrite`` writes the scripts of ``tests/interaction`` anew.
"""

from hypothesis import HealthCheck, settings

# A slow machine is no failure, so neither profile has a deadline.
settings.register_profile(
    "ci",
    derandomize=True,  # a failure here is a failure everywhere, and a green run stays green
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "night",
    max_examples=5_000,
    deadline=None,
    print_blob=True,  # how to repeat what was found
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci")  # `--hypothesis-profile=night` is read later and wins


def pytest_addoption(parser):
    parser.addoption(
        "--rewrite", action="store_true", help="write down what the interaction scripts say now; read the diff"
    )
