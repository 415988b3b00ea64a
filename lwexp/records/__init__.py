"""records: the row types that rooms exchange and the files that hold them.

Reads and writes JSONL and Parquet for every room. Imports no other room; never touches models or networks.
"""

from lwexp.records.atomic import atomic, write_json, write_text
from lwexp.records.disk import disk_problem, disk_refusal
from lwexp.records.endings import exit_code
from lwexp.records.evaluation import (
    AnswerCheck,
    Judgement,
    LengthRule,
    MetricInfo,
    PairJudgement,
    Prompt,
    PublishedCell,
    Response,
    Sampling,
    SegmentCheck,
    Verdict,
)
from lwexp.records.file_state import FileState, refuse_special
from lwexp.records.files import (
    BadRow,
    RowLog,
    StoredRows,
    TooDeepError,
    check_nesting,
    first_problem,
    parse_json,
    parse_json_lines,
    read_json_lines,
    read_rows,
    scan_json_lines,
    scan_rows,
    too_deep_at,
    write_rows,
)
from lwexp.records.locks import is_locked, lock_file, one_at_a_time, require_openable
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
    Role,
    Row,
    StepTrace,
    Tally,
    Trace,
    prompt_sha,
    tally,
    turn_problem,
)
from lwexp.records.stop import (
    STOP_SIGNALS,
    heard_signals,
    leave_closed_terminal,
    stop_handlers_restored,
    stops_held,
    stops_raised,
)
from lwexp.records.table import TableWriter

__all__ = [
    "STOP_SIGNALS", "AnswerCheck", "BadRow", "Conversation", "Draft", "Failure", "FileState", "Instruction",
    "Judgement", "Language", "LengthRule", "LwexpError", "Message", "MetricInfo", "PairJudgement", "Plan", "PlanStep",
    "Preempted", "PreferencePair", "Prompt", "PublishedCell", "Response", "Role", "Row", "RowLog", "Sampling",
    "SegmentCheck", "StepTrace", "StoredRows", "TableWriter", "Tally", "TooDeepError", "Trace", "Verdict", "atomic",
    "check_nesting", "disk_problem", "disk_refusal", "exit_code", "first_problem", "heard_signals", "is_locked",
    "leave_closed_terminal", "lock_file", "one_at_a_time", "parse_json", "parse_json_lines", "prompt_sha",
    "published_cells", "read_json_lines", "read_rows", "refuse_special", "require_openable", "scan_json_lines",
    "scan_rows", "stop_handlers_restored", "stops_held", "stops_raised", "tally", "too_deep_at", "turn_problem",
    "write_json", "write_rows", "write_text",
]  # fmt: skip
