"""A YAML file that cannot be parsed, in one line with file, line and column."""

from yaml import MarkedYAMLError, YAMLError

_MEANINGS = {
    "found character '\\t'": "a tab; indent with spaces",
    "found duplicate key": "the key stands twice; remove one of them",
    "found unexpected end of stream": "a quote is opened and never closed; close it",
    "mapping values are not allowed": "a colon where none can be; check the indentation, or put quotes around the text",
    "expected <block end>": "the indentation does not fit the lines above; align it with its neighbours",
    "could not find expected ':'": "a key without its colon; write key: value",
    "expected ',' or": "a bracket is opened and never closed; close it",
    "found unknown escape character": "a backslash in double quotes; use single quotes",
}


def yaml_in_one_line(error: YAMLError) -> str:
    """Where a file is broken, and what is probably wrong there."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return f"a YAML file cannot be read: {' '.join(str(error).split())}"
    problem = str(error.problem)
    is_open = problem.startswith(("found unexpected end", "expected ',' or"))
    # The place where a quote or bracket was opened helps more than the end of the file.
    mark = error.context_mark if is_open and error.context_mark is not None else error.problem_mark
    meaning = next((text for start, text in _MEANINGS.items() if problem.startswith(start)), problem)
    named = f" ({problem.removeprefix('found duplicate key ')})" if "duplicate key" in problem else ""
    return f"{mark.name} line {mark.line + 1}, column {mark.column + 1}: {meaning}{named}"
