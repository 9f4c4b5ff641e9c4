"""A waiver: a regression that is accepted for a trial, until a date, for a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from pytest_unineuron.errors import OptionError

_FORM = re.compile(
    r"(?P<name>.+?)(?: on (?P<model>.+?))? until (?P<until>\d{4}-\d\d-\d\d): *(?P<reason>\S.*)", re.DOTALL
)
EXAMPLE = "say 'TRIAL[CORPUS] on MODEL until 2027-01-31: REASON' (without 'on MODEL' for every model)"


@dataclass(frozen=True)
class Waiver:
    """Lets one trial regress to the end of the day ``until``, on one model or, if ``model`` is empty, on all."""

    name: str
    model: str
    until: date
    reason: str

    @classmethod
    def parse(cls, text: str) -> Waiver:
        """The waiver in the text of an option. Raises OptionError for one without an end or a reason."""
        found = _FORM.fullmatch(text.strip())
        try:
            if found is None:
                raise ValueError("it does not say which trial, until when and why")
            until = date.fromisoformat(found["until"])
        except ValueError as error:
            raise OptionError(f"--unineuron-waive={text}: {error}; {EXAMPLE}") from None
        return cls(found["name"], found["model"] or "", until, found["reason"])

    def covers(self, name: str, variant: str, model: str) -> bool:
        """Whether it covers this case: it names the trial, or one variant of it as ``NAME VARIANT``."""
        return self.name in (name, f"{name} {variant}") and self.model in ("", model)

    def __str__(self) -> str:
        """The text of the option."""
        return f"{self.name}{f' on {self.model}' if self.model else ''} until {self.until}: {self.reason}"
