"""What was found, as plain data."""

from typing import TypeAlias

import msgspec
from msgspec import Struct

from ..models._plain import PlainData

# Its number rises if a later version can't read what an earlier one has written.
FORMAT = "edgegap-doctor/1"
# None: it could not be found out.
Value: TypeAlias = str | int | float | bool | None


class Finding(PlainData, frozen=True, kw_only=True):
    """The answer to one question.

    Attributes:
        name: of the question, for programs.
        question: in words.
        found: None: it could not be found out; `note` says why.
        assumed: what this SDK and the simulator assume. None: nothing.
        differs: whether that is not what was found.
        note: what else there is to know.
    """

    name: str
    question: str
    found: Value
    assumed: Value = None
    differs: bool = False
    note: str = ""


class Diagnosis(PlainData, frozen=True, kw_only=True):
    """All that was found.

    Attributes:
        format: the version of this format.
        checked: when, in UTC.
        target: the base URL of the API.
    """

    format: str = FORMAT
    checked: str
    target: str
    findings: tuple[Finding, ...]

    @property
    def differences(self) -> tuple[Finding, ...]:
        """The findings that differ from what is assumed."""
        return tuple(finding for finding in self.findings if finding.differs)

    def value(self, name: str) -> Value:
        """Return what was found for a question. None: nothing, or it was not asked."""
        return next((it.found for it in self.findings if it.name == name), None)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Diagnosis":
        """Read what `to_json` has written.

        Raises:
            ValueError: it is no diagnosis, or one of another version; the message names
                the field.
        """
        try:
            head = msgspec.json.decode(text, type=_Head)
            if head.format != FORMAT:
                raise ValueError(
                    f"its format is {head.format[:40]!r}, and this version reads {FORMAT!r}"
                )
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"it is no diagnosis: {error}") from None


class _Head(Struct):
    format: str


def finding(
    name: str, question: str, found: Value, assumed: Value = None, note: str = ""
) -> Finding:
    """Make a finding. It differs if both values are known and are not the same."""
    known = found is not None and assumed is not None
    return Finding(
        name=name,
        question=question,
        found=found,
        assumed=assumed,
        differs=known and found != assumed,
        note=note,
    )
