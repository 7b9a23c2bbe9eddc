"""What may be asked, and what may be answered."""

from __future__ import annotations

from collections.abc import Sequence

from extproc.errors import InspectionFailed
from extproc.redaction.outside import Found

#: All texts of one payload together, in characters.
MAX_CHARS = 256 * 1024
MAX_TEXTS = 1_000
#: Findings in one text.
MAX_FOUND = 10_000


def check_size(texts: Sequence[str]) -> None:
    """Raises `InspectionFailed` for more than can be asked about in time."""
    if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARS:
        raise InspectionFailed("text_too_long")


def checked(text: str, found: Sequence[Found]) -> Sequence[Found]:
    """The findings, if each is a part of the text. Raises `InspectionFailed`."""
    lying = any(not 0 <= one.start < one.end <= len(text) or not 0 <= one.score <= 1 for one in found)
    if lying or len(found) > MAX_FOUND:
        raise InspectionFailed("analyzer_error")
    return found
