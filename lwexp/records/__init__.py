"""records: the row types that rooms exchange and the files that hold them.

Reads and writes JSONL and Parquet for every room. Imports nothing of ours; never touches models or networks.
"""

from lwexp.records.atomic import atomic, write_json, write_text
from lwexp.records.evaluation import Check, Judgement, MetricInfo, PairJudgement, Position, PublishedCell
from lwexp.records.files import (
    BadRow,
    RowLog,
    first_problem,
    read_json_lines,
    read_rows,
    scan_json_lines,
    scan_rows,
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
    prompt_sha,
    tally,
)
from lwexp.records.stored import StoredRows
from lwexp.records.table import TableWriter

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
    "MetricInfo",
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
    "StoredRows",
    "TableWriter",
    "Tally",
    "Verdict",
    "atomic",
    "first_problem",
    "prompt_sha",
    "published_cells",
    "read_json_lines",
    "read_rows",
    "scan_json_lines",
    "scan_rows",
    "tally",
    "write_json",
    "write_rows",
    "write_text",
]
