"""When a run has to stop: an empty account, a wrong key, a dead address, a server that is down for good.

A document that fails for a reason of its own never stops the others. Faults that may concern all calls are counted, and
a success resets the counts.
"""

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.errors import Fault, OutOfMoney
from lwexp.records import LwexpError

FEW = 5  # this many faults in a row of a kind that other calls share stop the run
MANY = 10  # this many calls in a row without an answer, or ``limits.concurrency`` if that is more, stop the run


class Health:
    """Counts an endpoint's faults and says when to stop.

    Args:
        endpoint: The endpoint that is called.

    Attributes:
        stop: Why nothing more is sent, once that is decided.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.stop: LwexpError | None = None
        self._endpoint = endpoint
        self._name = f"{endpoint.section} {endpoint.model}"
        self._has_answered = False
        self._unreachable = 0  # tries
        self._shared = 0  # calls that failed for money, key or address
        self._unknown = 0  # calls refused in words that lwexp does not recognise
        self._exhausted = 0  # calls that used up their tries

    def answered(self) -> None:
        """A call succeeded."""
        self._has_answered = True
        self._unreachable = self._shared = self._unknown = self._exhausted = 0

    def tried(self, fault: Fault) -> None:
        """A try failed. Before the first success, ``FEW`` tries that reach no server stop the run."""
        if fault.reason == "unreachable":
            self._unreachable += 1
            if self._unreachable >= FEW and not self._has_answered:
                self.stop = self.stop or LwexpError(f"{self._name}: {self._where_to_look(fault)}")

    def failed(self, fault: Fault) -> bool:
        """A call failed for good.

        Returns:
            Whether to ask a neutral question, to find out if the documents are at fault or the model and its options.
        """
        if fault.reason == "unsupported":
            self._end(f"{fault.detail}; {self._without_option(fault.detail)}")
        elif fault.remedy in ("money", "address"):
            self._shared += 1
            if self._shared >= FEW:
                self._stop_for(fault)
        elif fault.remedy == "retry":
            self._exhausted += 1
            if self._exhausted >= max(MANY, self._endpoint.limits.concurrency):
                self._end(
                    f"{self._exhausted} calls in a row got no answer, each after all its tries "
                    f"({fault.reason}: {fault.detail}); run the same command again when it is back"
                )
        elif fault.remedy == "unknown":
            self._unknown += 1
            return self._unknown >= FEW
        return False

    def probed(self, fault: Fault | None) -> None:
        """A neutral question was answered (None), or failed as well."""
        self._unknown = 0
        if fault is not None and fault.remedy != "retry":
            self._end(
                f"{FEW} calls in a row failed for good, and a neutral question as well "
                f"({fault.reason}: {fault.detail}); {self._without_option(fault.detail)}, "
                "then run the same command again"
            )

    def _stop_for(self, fault: Fault) -> None:
        if fault.remedy == "money":
            self.stop = self.stop or OutOfMoney(
                f"{self._name}: the account has no credit ({fault.detail}); top it up, then run the same command "
                "again to go on"
            )
            return
        self._end(
            f"{FEW} calls in a row failed for good ({fault.reason}: {fault.detail}); {self._where_to_look(fault)}"
        )

    def _end(self, said: str) -> None:
        self.stop = self.stop or LwexpError(f"{self._name}: {said}")

    def _where_to_look(self, fault: Fault) -> str:
        section, address = self._endpoint.section, getattr(self._endpoint, "base_url", None)
        again = "then run the same command again"
        if fault.reason == "unreachable":
            if address is None:
                return f"the provider cannot be reached ({fault.detail}); check the network, {again}"
            return f"no server answers at {address}; start it or set {section}.base_url, {again}"
        if fault.reason == "authentication" and (variable := getattr(self._endpoint, "api_key_env", None)):
            return f"check the key in {variable}, {again}"
        if fault.reason == "authentication":
            return f"the server wants a key: set {section}.api_key_env=<name of its variable>, {again}"
        return f"check {section}.model{f' and {section}.base_url' if address else ''}, {again}"

    def _without_option(self, detail: str) -> str:
        """The override that leaves out a parameter which the model does not take."""
        section = self._endpoint.section
        named = [name for name in getattr(self._endpoint, "options", {}) if name in detail]
        if named:
            return f"remove {section}.options.{named[0]}"
        if "temperature" in detail:
            return f"set {self._endpoint.without('temperature')}"
        if "top_p" in detail:
            return f"set {self._endpoint.without('top_p')}"
        return f"check {section}.model and its options"
