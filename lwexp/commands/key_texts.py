"""The text below each key of a config class, read from its source when keys are listed.

pydantic can read these texts too (``use_attribute_docstrings``), but at import and for every class, which takes a tenth
of the time of a short command.
"""

import ast
import inspect
import textwrap
from functools import cache

from pydantic import BaseModel


def key_text(model: type[BaseModel], key: str) -> str:
    """What a key means, in one line; empty if nothing is said of it."""
    given = model.model_fields[key].description
    return " ".join((given or _texts(model).get(key, "")).split())


@cache
def _texts(model: type[BaseModel]) -> dict[str, str]:
    """The texts of a class and of those that it extends, by key."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls is not BaseModel:
            found |= _own_texts(cls)
    return found


def _own_texts(cls: type[BaseModel]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):  # made without a source file
        return {}
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                found[key] = inspect.cleandoc(text)
    return found
