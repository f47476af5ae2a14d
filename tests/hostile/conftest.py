"""Report the CPU time of each hostile case."""

import pytest
from budget import COSTS


@pytest.fixture(autouse=True)
def _cost(record_property):
    """Report the most expensive request of the test; the summary at the end has the ten slowest."""
    COSTS.clear()
    yield
    if COSTS:
        record_property("cpu", max(COSTS))
