"""Settings of every test."""

import pytest
from hypothesis import settings

from core import executor

settings.register_profile("lcre", deadline=None)  # a busy machine is no failure
settings.load_profile("lcre")

LONG = ("test_run.py", "test_resume.py", "test_accuracy.py")  # the files that take longest


def pytest_collection_modifyitems(items: list) -> None:
    """Start with the longest files, so that no process waits for the last one at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)  # a stable sort: within a file the order stays


@pytest.fixture(autouse=True)
def one_fold_at_a_time(monkeypatch):
    """Have a run in the process of a test train there, on machines of many cores as well: tests change its modules."""
    monkeypatch.setattr(executor, "usable_cores", lambda: 2)
