"""records: the row types that rooms exchange and the files that hold them.

Reads and writes JSONL and Parquet for every room. Imports nothing of ours; never touches models or networks.
"""

from lwexp.records.evaluation import Check, Judgement, PairJudgement, Position, PublishedCell
from lwexp.records.files import (
    BadRow,
    RowLog,
    first_problem,
    read_rows,
    scan_rows,
    write_json,
    write_parquet,
    write_rows,
)
from lwexp.records.published import published_cells
from lwexp.records.rows import (
    Conversation,
    Draft,
    Failure,
    Instruction,
    Language,
    LwexpError,
    Message,
    Plan,
    PlanStep,
    Preempted,
    PreferencePair,
    Prompt,
    Response,
    Role,
    Row,
    Sampling,
    Tally,
    Verdict,
    tally,
)

__all__ = [
    "BadRow",
    "Check",
    "Conversation",
    "Draft",
    "Failure",
    "Instruction",
    "Judgement",
    "Language",
    "LwexpError",
    "Message",
    "PairJudgement",
    "Plan",
    "PlanStep",
    "Position",
    "Preempted",
    "PreferencePair",
    "Prompt",
    "PublishedCell",
    "Response",
    "Role",
    "Row",
    "RowLog",
    "Sampling",
    "Tally",
    "Verdict",
    "first_problem",
    "published_cells",
    "read_rows",
    "scan_rows",
    "tally",
    "write_json",
    "write_parquet",
    "write_rows",
]
