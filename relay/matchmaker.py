"""Requirements and preferences for the broker: ClassAds, whose library is loaded when the first job
has some: most have none.
"""

from __future__ import annotations

import importlib
from typing import Any

from relay.broker.matching import Matcher

Message = dict[str, Any]

_MODULE = "gshell.jdl.matching"


class LazyMatcher:
    """A `Matcher` that loads the real one when it is first asked."""

    def __init__(self) -> None:
        self._real: Matcher | None = None

    def _matcher(self) -> Matcher:
        """
        Raises:
            ImportError: it, or its library, is not installed here.
        """
        if self._real is None:
            self._real = importlib.import_module(_MODULE).Matcher()
        return self._real

    def check(self, text: str) -> str:
        try:
            return self._matcher().check(text)
        except ImportError as error:
            return f"this relay cannot evaluate expressions: {error}"

    def suits(self, job_ad: Message, req: str, ad: Message) -> bool:
        try:
            return self._matcher().suits(job_ad, req, ad)
        except ImportError:  # an agent's own requirements, maybe, on a relay that cannot read them
            return False

    def rank(self, job_ad: Message, rank: str, ad: Message) -> float:
        return self._matcher().rank(job_ad, rank, ad)

    def explain(self, job_ad: Message, req: str, ad: Message) -> list[tuple[str, Any]]:
        return self._matcher().explain(job_ad, req, ad)
