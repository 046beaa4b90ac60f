"""How many examples property-based tests try: few in every run, more when asked.

`TEST_EFFORT=100 .venv/bin/pytest -q tests/accounts/test_runs_properties.py` tries a hundred times
as many, each run others.
"""

import os

from hypothesis import HealthCheck, settings

EFFORT = int(os.environ.get("TEST_EFFORT", "1"))


def examples(count: int, steps: int = 50) -> settings:
    """Return settings for so many examples, times TEST_EFFORT, each of so many steps at most.

    An example may take its time. Fixtures are shared by all examples of a test, which therefore
    name what they store anew each time.
    """
    return settings(
        max_examples=count * EFFORT,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        stateful_step_count=steps,
    )
