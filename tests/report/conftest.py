import pytest

from tests.report import report_runs


@pytest.fixture(scope="session")
def demo_runs(tmp_path_factory):
    """Three evaluations with their lineage; read only."""
    return report_runs.demo(tmp_path_factory.mktemp("demo") / "runs")
