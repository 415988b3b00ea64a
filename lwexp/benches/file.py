"""Prompts in a file: as THUDM/LongWriter publishes LongBench-Write and LongWrite-Ruler, or with other columns."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from lwexp.benches.columns import COLUMNS, RULES, numbered_rows, value_at, wanted_columns
from lwexp.extend import Bench, Key, register
from lwexp.records import LengthRule, LwexpError, Prompt, first_problem
from lwexp.text.encodable import Replaced, encodable_json
from lwexp.text.plain import first_line, one_line
from lwexp.text.words import language_of

log = logging.getLogger(__name__)

_PUBLISHED = "https://github.com/THUDM/LongWriter/tree/main/evaluation"
_RELEASE = "3fcfdff"  # version of the published benches
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?<!\.jsonl)(?<!\.json)")


@register
class FileBench(Bench):
    """Rows with prompt, length and, optionally, type, id, language, length_kind and length_range."""

    kind: Literal["file"] = "file"
    path: str
    """The file, a folder with ``filename`` in it, or such a data set on the Hugging Face hub (owner/name)."""
    filename: str
    """The file's name, for a folder or a hub data set."""
    english_prompts_file: Annotated[str | None, Key(formerly="english")] = None
    """File in the same folder, or the whole path of one elsewhere, that lists the English prompts; all others are
    Chinese. Null detects languages by characters."""
    fields: Annotated[dict[str, str], Key(neutral={})] = Field(default_factory=dict)
    """Column of lwexp -> the file's name for it, such as {prompt: query, length: meta.words}; a dot goes into an
    object."""
    sha256: str | None = None
    """sha256 of the file; another file is refused. Null accepts any."""
    revision: str | None = None
    """Hub commit; null for the newest."""

    @model_validator(mode="after")
    def fields_name_columns(self) -> FileBench:
        """Refuse a column that nothing reads: a length under a misspelt name would be no length."""
        known = [*COLUMNS, *self._further_columns()]
        for name in self.fields:
            if name not in known:
                raise ValueError(f"bench.fields.{name}: no such column of lwexp; wanted {', '.join(known)}")
        return self

    def prompts(self) -> list[Prompt]:
        """One prompt per line; a line without an id gets ``<bench name>-<line>``.

        With ``english_prompts_file``, a prompt is English if that file contains it, else Chinese. So line 94 of
        LongBench-Write, which asks in Chinese for English text, counts as English, as in the paper.
        """
        path = self._locate(self.filename)
        self._refuse_another_file(path)
        columns = ["prompt", *(["length"] if self.needs_lengths else []), *self._further_columns()]
        english = None
        if self.english_prompts_file is not None:
            english = {row["prompt"] for _, row in self._rows(self._locate(self.english_prompts_file), columns[:1])}
        prompts = [
            self._prompt(row, f"{self.name}-{number}", f"{path} line {number}", english)
            for number, row in self._rows(path, columns)
        ]
        if not prompts:
            wanted = " and ".join(columns)
            raise LwexpError(f"bench.path={self.path}: the file has no prompts; wanted lines with {wanted}")
        lines: dict[str, int] = {}
        for number, prompt in enumerate(prompts, start=1):
            if lines.setdefault(prompt.id, number) != number:
                raise LwexpError(f"{path}: prompt id {prompt.id} is repeated; give every line its own id, or none")
        return prompts

    def _locate(self, name: str) -> Path:
        """Local path of a file in the bench's folder, or given by its whole path; a file on the hub is downloaded into
        the cache."""
        if Path(name).is_absolute():
            if not Path(name).is_file():
                raise LwexpError(f"bench.path={self.path}: there is no {name}")
            return Path(name)
        found = Path(self.path)
        if found.is_file():
            found = found if name == self.filename else found.parent / name
        elif _HUB_ID.fullmatch(self.path) and not found.is_dir():
            return self._from_hub(name)
        elif found.is_dir() or not found.suffix:
            found = found / name
        if found.is_file():
            return found
        by_letters = ", or bench.english_prompts_file=null to detect languages by characters"
        advice = "" if name == self.filename else by_letters
        raise LwexpError(f"bench.path={self.path}: there is no {found}; {self._where_to_get(name)}{advice}")

    def _from_hub(self, name: str) -> Path:
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(self.path, name, repo_type="dataset", revision=self.revision))
        except Exception as error:  # offline, no such data set or file, no access: each raises many types
            raise LwexpError(
                f"bench.path={self.path}: there is no such folder, and the hub gave no {name} "
                f"({type(error).__name__}: {first_line(error, '')[:160]}); {self._where_to_get(name)}"
            ) from None

    def _where_to_get(self, name: str) -> str:
        if self.version != _RELEASE:
            return "set bench.path=<file, folder or hub data set>"
        return (
            f"THUDM/LongWriter publishes {name} at {_PUBLISHED}; download it there and set bench.path=<file or folder>"
        )

    def _further_columns(self) -> list[str]:
        return list(dict.fromkeys(column for metric in self.scored_by for column in metric.needs_columns))

    def _refuse_another_file(self, path: Path) -> None:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if self.sha256 is not None and found != self.sha256:
            raise LwexpError(
                f"{path} is not {self.name} v{self.version}: sha256 {found[:12]}..., wanted {self.sha256[:12]}...; get "
                f"the published file, or use yours with bench=jsonl bench.path={path}"
            )

    def _prompt(self, row: dict[str, Any], id: str, where: str, english: set[str] | None) -> Prompt:
        language = row.get("language") or language_of(row["prompt"])
        if english is not None:
            language = "en" if row["prompt"] in english else "zh"
        try:
            return Prompt(
                id=str(row.get("id") or id), text=row["prompt"], language=language,
                type=str(row.get("type") or "unknown"), required_words=row.get("length"),
                length_rule=_length_rule(row, where),
                details={column: row[column] for column in self._further_columns()},
            )  # fmt: skip
        except ValidationError as error:
            raise LwexpError(f"{where}: {first_problem(error)}, got length={row.get('length')!r}") from None

    def _rows(self, path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line number and row of every line that is not blank, with its columns under lwexp's names."""
        unstorable = Replaced()
        for number, raw in numbered_rows(path):
            row, replaced = encodable_json(raw)
            unstorable.count(replaced, "prompts")
            if isinstance(row, dict):
                named = {ours: value_at(row, theirs) for ours, theirs in self.fields.items()}
                row |= {ours: value for ours, value in named.items() if value is not None}
            missing = [column for column in columns if not isinstance(row, dict) or row.get(column) is None]
            if missing:
                theirs = one_line(" and ".join(self.fields.get(column, column) for column in missing), 160)
                raise LwexpError(f"{path} line {number}: {theirs} missing; {wanted_columns(row, columns)}")
            if not isinstance(row["prompt"], str) or not row["prompt"].strip():
                raise LwexpError(f"{path} line {number}: prompt must be text, got {row['prompt']!r:.60}")
            yield number, row
        if unstorable:
            log.warning("%s: %s", path, unstorable)


def _length_rule(row: dict[str, Any], where: str) -> LengthRule | None:
    """The kind of length instruction that the row states; None if it states none."""
    given = row.get("length_kind")
    if given is None:
        return None
    kind = RULES.get(str(given).lower().replace("_", " "))
    length, ends = row.get("length"), row.get("length_range")
    if kind is None:
        raise LwexpError(f"{where}: length_kind must be about, at least, at most or between, got {given!r:.40}")
    if kind != "between":
        return LengthRule(
            kind=kind, low=length if kind == "at_least" else None, high=length if kind == "at_most" else None
        )
    if not (isinstance(ends, list) and len(ends) == 2 and all(type(end) is int and end > 0 for end in ends)):
        raise LwexpError(f"{where}: between needs length_range, such as [300, 400], got {ends!r:.40}")
    return LengthRule(kind="between", low=min(ends), high=max(ends))
