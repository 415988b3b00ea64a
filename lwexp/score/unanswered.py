"""Questions that a judge gave no usable reply to: kept with an example, counted, and a reason to stop if too many."""

from __future__ import annotations

from pathlib import Path

from lwexp.extend.endpoint import AskedJudge
from lwexp.llm.errors import is_transient
from lwexp.llm.pool import NothingRead
from lwexp.records import LwexpError
from lwexp.runs.summaries import AskedAbout, JudgeFailure, JudgeFailures
from lwexp.text.plain import one_line, plural

STARTS = 3
"""The number of starts of the command in which a question is asked if its replies are unreadable; after that, the
answer stays unscored."""

_IN_A_ROW = 10  # unusable replies without a usable one in between that stop the run
_REPLY = 2000  # characters of an example that are kept
_CUT = ("length", "unfinished_reasoning")


class Unanswered:
    """Collects the questions without a usable reply, of one kind.

    Faults of the provider are not counted here: the client stops for those (``lwexp.llm.health``), and a filter or a
    text that is too long belongs to one answer alone.

    Args:
        judge: The judge.
        about: What is asked about.
    """

    def __init__(self, judge: AskedJudge, about: AskedAbout) -> None:
        self._judge = judge
        self._about = about
        self._by_reason: dict[tuple[str, bool], JudgeFailure] = {}
        self._in_a_row = 0

    def answered(self) -> None:
        """A reply was read."""
        self._in_a_row = 0

    def add(self, key: str, error: NothingRead) -> None:
        """Count a question without a usable reply.

        Args:
            key: Of the question.
            error: Why nothing was read.

        Raises:
            LwexpError: If too many replies in a row were unusable. Replays of earlier starts do not count: they were
                counted then, and a restart has to get past them.
        """
        may_come = is_transient(error.reason) or not error.is_final
        example = self._by_reason.setdefault(
            (error.reason, may_come),
            JudgeFailure(
                about=self._about, reason=error.reason, may_come=may_come, count=0, question=key,
                detail=one_line(str(error), 300), reply=error.reply[:_REPLY],
            ),
        )  # fmt: skip
        example.count += 1
        if error.is_replay or error.reason not in ("unreadable", *_CUT):
            return
        self._in_a_row += 1
        if self._in_a_row >= _IN_A_ROW:
            raise LwexpError(
                f"judge {self._judge.model}: {_IN_A_ROW} replies in a row could not be used; the last one is "
                f"{error.reason.replace('_', ' ')} ({one_line(str(error), 150)}): {one_line(error.reply, 200)!r}; "
                f"{self._remedy(error.reason)}, then run the same command again"
            )

    def _remedy(self, reason: str) -> str:
        if reason in _CUT:
            return f"raise judge.max_tokens (now {self._judge.max_tokens:,}) or ask for less reasoning in judge.options"
        own = "" if self._judge.prompt is None else ", judge.prompt"
        return f"check judge.model{own} and judge.options"

    def write(self, folder: Path) -> None:
        """Add them to judge_failures.json, which also has other kinds of question; no file if there are none."""
        others = [row for row in JudgeFailures.of(folder) if row.about != self._about]
        JudgeFailures(failures=[*others, *self._by_reason.values()]).write(folder)

    def summary(self) -> str | None:
        """One line for people, with an example; None if every question has its reply."""
        rows = sorted(self._by_reason.values(), key=lambda row: -row.count)
        if not rows:
            return None
        asked = sum(row.count for row in rows)
        return f"judge {self._judge.model}: no score for {plural(asked, 'question')}: {'; '.join(map(str, rows))}"
