"""The rows that SFT and DPO train on, as documents."""

from lwexp.extend import TrainingRows
from lwexp.records import Conversation, Message, PreferencePair


class ConversationRows(TrainingRows[Conversation]):
    """A conversation is one document; every answer in it is a target, unless its weight is 0."""

    kind, plural, row_type, answers, can_be_held_out = "sft", "conversations", Conversation, "all", True

    def documents(self, row: Conversation) -> tuple[tuple[Message, ...], ...]:
        return (row.messages,)

    def answer_words(self, row: Conversation) -> tuple[int, ...]:
        """Words of the conversation's longest answer that is trained on."""
        return (row.actual_words,)


class PairRows(TrainingRows[PreferencePair]):
    """Both answers of a pair, each after the prompt: documents 2i and 2i+1 are pair i's chosen and rejected answer."""

    kind, plural, row_type, section = "pairs", "preference pairs", PreferencePair, "pairs"
    endings = ("/chosen", "/rejected")

    def documents(self, row: PreferencePair) -> tuple[tuple[Message, ...], ...]:
        return tuple((*row.prompt, Message(role="assistant", content=answer)) for answer in (row.chosen, row.rejected))

    def answer_words(self, row: PreferencePair) -> tuple[int, ...]:
        return row.chosen_words, row.rejected_words
