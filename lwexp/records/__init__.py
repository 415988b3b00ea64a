"""records: the row types that rooms exchange and the files that hold them.

Reads and writes JSONL and Parquet for every room. Imports nothing of ours; never touches models or networks.
"""

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
    "Conversation",
    "Draft",
    "Failure",
    "Instruction",
    "Language",
    "LwexpError",
    "Message",
    "Plan",
    "PlanStep",
    "PreferencePair",
    "Prompt",
    "Response",
    "Role",
    "Row",
    "RowLog",
    "Sampling",
    "Tally",
    "Verdict",
    "first_problem",
    "read_rows",
    "scan_rows",
    "tally",
    "write_json",
    "write_parquet",
    "write_rows",
]
