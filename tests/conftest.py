"""What every test gets. The tools themselves are in tests/kit."""

import pathlib
from collections.abc import Generator

import pytest

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # the tests of experiments, say, need none
    pass
else:
    # No limit for one example, which a busy machine may hold up; and the same examples each time: what
    # nobody has touched does not fail. `--hypothesis-profile=other` looks for others.
    quiet = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("other", **quiet)
    settings.register_profile("same", derandomize=True, **quiet)
    settings.load_profile("same")

HERE = pathlib.Path(__file__).parent
LITTER = "ignore::pytest.PytestUnraisableExceptionWarning"
MARKED_BY_FOLDER = {"system", "fault", "site", "bench"}


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's level is the folder it stands in; nobody has to say it twice."""
    for item in items:
        if item.path.is_relative_to(HERE):
            level = item.path.relative_to(HERE).parts[0]
            if level in MARKED_BY_FOLDER:
                item.add_marker(level)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test that failed has left open is found when a later one runs: not that one's failure."""
    report = yield
    if report.failed and LITTER not in item.config.getini("filterwarnings"):
        item.config.addinivalue_line("filterwarnings", LITTER)
    return report
