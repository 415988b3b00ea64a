"""llm: reads messages, gives text or a typed reason why there is none; through litellm, whatever the model.

Writes one file, the ledger it is handed: every answer is stored there before it is used, so nothing is paid
for twice. Never touches prompts' meaning, rows or run directories. litellm is imported only when a call
has to be sent; the offline teacher and judge are litellm providers too, so they run down the same path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwexp.llm.answer import Answer, NoAnswer
    from lwexp.llm.client import Client

__all__ = ["Answer", "Client", "NoAnswer"]


def __getattr__(name: str) -> Any:
    # asyncio, tenacity and the config's schema take 0.2 s together: paid by those who ask, not by --help.
    if name in __all__:
        from lwexp.llm import answer, client

        return getattr(client if name == "Client" else answer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
