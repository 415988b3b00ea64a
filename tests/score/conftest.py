from collections.abc import Iterator

import pytest

from tests.score.scripted_judge import Judge


@pytest.fixture
def judge() -> Iterator[Judge]:
    made = Judge()
    yield made
    made.server.shutdown()
    made.server.server_close()
