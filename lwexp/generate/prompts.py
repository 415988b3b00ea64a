"""AgentWrite's prompt templates: lwexp's own or a user's folder."""

from pathlib import Path
from typing import Literal, NamedTuple

from lwexp.config.data import GenerateConfig
from lwexp.records import Language, LwexpError
from lwexp.text.encodable import encodable
from lwexp.text.plain import plural
from lwexp.text.quoting import slots_of
from lwexp.text.words import LANGUAGES

_BUILT_IN = Path(__file__).parent / "prompts"
_KNOWN = ("INST", "PLAN", "TEXT", "STEP")


class Templates(NamedTuple):
    """The two prompts of AgentWrite in one language, and the message sent after an unusable plan."""

    plan: str
    write: str
    replan: str


def load_templates(config: GenerateConfig, form: Literal["text", "schema"] = "text") -> dict[Language, Templates]:
    """Read plan_en.txt, write_en.txt, plan_zh.txt and write_zh.txt.

    Args:
        config: Names the folder and the mode.
        form: schema adds to each plan prompt, a user's too, that the plan is wanted as JSON.

    Raises:
        LwexpError: If a file is missing, lacks a required placeholder, or has an unknown one.
    """
    folder = Path(config.prompts) if config.prompts is not None else _BUILT_IN
    needed_to_write = ("INST", "PLAN", "STEP", *(("TEXT",) if config.mode == "sequential" else ()))
    return {
        language: Templates(
            plan=_read(folder / f"plan_{language}.txt", ("INST",))
            + (f"\n\n{_built_in(f'plan_json_{language}')}" if form == "schema" else ""),
            write=_read(folder / f"write_{language}.txt", needed_to_write),
            replan=_built_in(f"replan_json_{language}" if form == "schema" else f"replan_{language}"),
        )
        for language in LANGUAGES
    }


def _built_in(name: str) -> str:
    return (_BUILT_IN / f"{name}.txt").read_text(encoding="utf-8").strip()


def _read(path: Path, needed: tuple[str, ...]) -> str:
    if not path.is_file():
        raise LwexpError(
            f"generate.prompts: {path} does not exist; the folder needs plan_en.txt, write_en.txt, plan_zh.txt and "
            f"write_zh.txt (generate.prompts=null takes lwexp's own)"
        )
    try:
        text: str
        text, replaced = encodable(path.read_text(encoding="utf-8-sig").strip())
    except UnicodeDecodeError as error:
        raise LwexpError(f"generate.prompts: {path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if replaced:
        raise LwexpError(f"generate.prompts: {path} holds {plural(replaced, 'NUL character')}; remove them")
    slots = slots_of(text)
    if missing := [f"${name}$" for name in needed if name not in slots]:
        raise LwexpError(f"generate.prompts: {path} lacks the placeholder {', '.join(missing)}; add it to the file")
    if unknown := sorted(slots - set(_KNOWN)):
        known = ", ".join(f"${name}$" for name in _KNOWN)
        raise LwexpError(f"generate.prompts: {path} holds the unknown placeholder ${unknown[0]}$; known are {known}")
    return text
