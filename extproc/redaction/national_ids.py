"""Numbers that states give to people and companies, most of them with check digits.

One row for each number: what it looks like here, how it is checked elsewhere. The checks are python-stdnum's, an extra,
and handed in as functions (`extras.py`): a row without its check would find any run of digits. Names are Presidio's
where it has one.
"""

from __future__ import annotations

from typing import NamedTuple

from extproc.redaction.recognizer import Recognizer


class NationalId(NamedTuple):
    """A recognizer, and python-stdnum's module that checks its matches."""

    recognizer: Recognizer
    module: str


def _row(
    entity: str, module: str, pattern: str, longest: int, context: tuple[str, ...], score: float = 0.05
) -> NationalId:
    return NationalId(Recognizer(entity, pattern, longest, None, context, score), module)


NATIONAL_IDS = (
    _row("ES_NIF", "es.nif", r"(?i)\b[0-9klmxyz]\d{7}[ \-]?[a-z]\b", 10, ("nif", "dni", "nie"), 0.5),
    _row(
        "IT_FISCAL_CODE",
        "it.codicefiscale",
        r"(?i)\b[a-z]{6}[0-9lmnp-v]{2}[abcdehlmprst][0-9lmnp-v]{2}[a-z][0-9lmnp-v]{3}[a-z]\b",
        16,
        ("codice fiscale", "fiscal"),
        0.9,
    ),
    _row("IT_VAT_CODE", "it.iva", r"\b(?:IT ?)?\d{11}\b", 14, ("partita iva", "p.iva", "vat")),
    _row("PL_PESEL", "pl.pesel", r"\b\d{11}\b", 11, ("pesel",)),
    _row("FI_PERSONAL_IDENTITY_CODE", "fi.hetu", r"(?i)\b\d{6}[+\-a-fu-y]\d{3}[0-9a-y]\b", 11, ("hetu",), 0.8),
    _row("IN_AADHAAR", "in_.aadhaar", r"\b[2-9]\d{3}[ \-]\d{4}[ \-]\d{4}\b", 14, ("aadhaar", "uidai"), 0.5),
    _row("IN_AADHAAR", "in_.aadhaar", r"\b[2-9]\d{11}\b", 12, ("aadhaar", "uidai")),
    _row("IN_PAN", "in_.pan", r"(?i)\b[a-z]{3}[abcfghjlpt][a-z]\d{4}[a-z]\b", 10, ("pan", "permanent account"), 0.6),
    _row("AU_TFN", "au.tfn", r"\b\d{3} ?\d{3} ?\d{2,3}\b", 11, ("tfn", "tax file")),
    _row("AU_ABN", "au.abn", r"\b\d{2} \d{3} \d{3} \d{3}\b", 14, ("abn", "australian business"), 0.5),
    _row("AU_ABN", "au.abn", r"\b\d{11}\b", 11, ("abn", "australian business")),
    _row("AU_ACN", "au.acn", r"\b\d{3} ?\d{3} ?\d{3}\b", 11, ("acn", "australian company")),
    _row("BR_CPF", "br.cpf", r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b", 14, ("cpf",), 0.8),
    _row("BR_CPF", "br.cpf", r"\b\d{11}\b", 11, ("cpf",)),
    _row("BR_CNPJ", "br.cnpj", r"\b\d{2}\.\d{3}\.\d{3}/\d{4}-\d{2}\b", 18, ("cnpj",), 0.8),
    _row("DE_TAX_ID", "de.idnr", r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b", 14, ("steuer", "idnr", "tax")),
    _row("FR_NIR", "fr.nir", r"\b[12] ?\d{2} ?\d{2} ?\d[0-9AB] ?\d{3} ?\d{3} ?\d{2}\b", 21, ("nir", "sociale"), 0.6),
    _row("NL_BSN", "nl.bsn", r"\b\d{9}\b", 9, ("bsn", "burgerservice", "sofi")),
    _row("BE_NN", "be.nn", r"\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b", 15, ("rijksregister", "national"), 0.8),
    _row("SE_PERSONNUMMER", "se.personnummer", r"\b(?:\d{2})?\d{6}[+\-]\d{4}\b", 13, ("personnummer",), 0.6),
    _row("NO_FODSELSNUMMER", "no.fodselsnummer", r"\b\d{6} ?\d{5}\b", 12, ("fodsels", "f\xf8dsels", "personnummer")),
    _row("DK_CPR", "dk.cpr", r"\b\d{6}-\d{4}\b", 11, ("cpr", "personnummer"), 0.4),
    _row("CH_AHV", "ch.ssn", r"\b756\.\d{4}\.\d{4}\.\d{2}\b|\b756\d{10}\b", 16, ("ahv", "avs"), 0.8),
    _row("AT_SVNR", "at.vnr", r"\b\d{4} ?\d{6}\b", 11, ("sozialversicherung", "svnr", "versicherungsnummer")),
    _row("PT_NIF", "pt.nif", r"\b\d{9}\b", 9, ("nif", "contribuinte")),
    _row("CA_SIN", "ca.sin", r"\b\d{3}[ \-]\d{3}[ \-]\d{3}\b", 11, ("sin", "social insurance"), 0.4),
    _row("MX_CURP", "mx.curp", r"(?i)\b[a-z]{4}\d{6}[a-z]{6}[0-9a-z]\d\b", 18, ("curp",), 0.9),
    _row("KR_RRN", "kr.rrn", r"\b\d{6}-\d{7}\b", 14, ("rrn", "resident"), 0.6),
    _row("ZA_ID", "za.idnr", r"\b\d{13}\b", 13, ("south africa", "id number", "identity")),
    _row("TR_TCKIMLIK", "tr.tckimlik", r"\b[1-9]\d{10}\b", 11, ("kimlik", "tckn")),
    _row("IE_PPS", "ie.pps", r"(?i)\b\d{7}[a-w][a-iw]?\b", 9, ("pps", "ppsn"), 0.5),
    _row("IL_ID", "il.idnr", r"\b\d{9}\b", 9, ("teudat", "zehut", "israel")),
    _row("CN_RIC", "cn.ric", r"(?i)\b\d{17}[0-9x]\b", 18, ("identity", "resident", "id"), 0.6),
    _row("TH_PIN", "th.pin", r"\b\d(?:-\d{4}-\d{5}-\d{2}-\d|\d{12})\b", 17, ("thai", "citizen"), 0.3),
    _row("NZ_IRD", "nz.ird", r"\b\d{2,3}-\d{3}-\d{3}\b", 11, ("ird", "inland revenue"), 0.4),
    _row("AR_CUIT", "ar.cuit", r"\b\d{2}-\d{8}-\d\b", 13, ("cuit", "cuil"), 0.6),
    _row("CL_RUT", "cl.rut", r"(?i)\b\d{1,2}\.\d{3}\.\d{3}-[0-9k]\b", 12, ("rut", "run"), 0.6),
)

MODULES = {row.recognizer.entity: row.module for row in NATIONAL_IDS}
