"""Which errors mean that no model has the requested name."""

import pytest

from lwexp.llm.errors import classify


class RefusalError(Exception):
    """As litellm raises it, with the status of the reply."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status_code = status


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (404, "The model `b` does not exist or you do not have access.", "not_found"),
        (400, 'model "b" not found, try pulling it first', "not_found"),
        (400, "model: b is not found", "not_found"),
        (400, "Model Not Exist", "not_found"),
        # Negative controls: errors that pass, and a request that is quoted.
        (429, "model deployment busy, no healthy replica; model b not found, retry in 2s", "rate_limit"),
        (408, "model instance not found in time", "time_out"),
        (400, "got 'Write on why a perfect economic model for all does not exist'", "bad_request"),
    ],
)
def test_an_unknown_model_is_told_from_other_errors(status: int, message: str, reason: str) -> None:
    assert classify(RefusalError(status, message), secret=None).reason == reason
