"""The checks that optional packages bring, as plain functions.

Strategy: recognizers are pure and know no package; they are handed these. The packages are imported here and only when
asked for, since phonenumbers alone takes 48 MB. What is not installed is left out: whoever compiles a policy that asks
for it is told the name of the extra.
"""

from __future__ import annotations

import importlib
import importlib.util

from extproc.redaction.national_ids import MODULES
from extproc.redaction.recognizer import Valid


def validators() -> dict[str, Valid]:
    """A check for each entity that an installed extra knows."""
    found: dict[str, Valid] = {}
    if importlib.util.find_spec("stdnum"):
        found.update({entity: _national_check(name) for entity, name in MODULES.items()})
    if importlib.util.find_spec("phonenumbers"):
        found["PHONE_NUMBER"] = _phone_check()
    return found


def _national_check(module: str) -> Valid:
    """One of python-stdnum's checks. Some of them stumble over their own tables: what they cannot tell is taken."""
    is_valid = importlib.import_module(f"stdnum.{module}").is_valid

    def valid(text: str) -> bool:
        try:
            return bool(is_valid(text))
        except (LookupError, ValueError, TypeError, AttributeError):
            return True

    return valid


def _phone_check() -> Valid:
    """Whether a number with its country's code could be dialled. Others are taken by their form: see the patterns."""
    phonenumbers = importlib.import_module("phonenumbers")

    def valid(text: str) -> bool:
        international = "+" + text[2:] if text.startswith("00") else text
        if not international.startswith("+"):
            return True
        try:
            return bool(phonenumbers.is_valid_number(phonenumbers.parse(international)))
        except phonenumbers.NumberParseException:
            return False

    return valid
