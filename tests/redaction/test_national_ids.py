"""Numbers of states are found by their form and python-stdnum's check, and not without the check."""

import pytest
from redaction.redacting import compiled, found

from extproc.redaction import Action, Direction, Policy, UnknownEntity, validators
from extproc.redaction.national_ids import MODULES

SAMPLES = {
    "ES_NIF": "NIF 54362315K",
    "IT_FISCAL_CODE": "il codice RCCMNL83S18D969H",
    "IT_VAT_CODE": "partita IVA 00743110157",
    "PL_PESEL": "PESEL 44051401359",
    "FI_PERSONAL_IDENTITY_CODE": "131052-308T",
    "IN_AADHAAR": "2341 2341 2346",
    "IN_PAN": "ACUPA7085R",
    "AU_TFN": "my TFN 123 456 782",
    "AU_ABN": "83 914 571 673",
    "AU_ACN": "ACN 004 085 616",
    "BR_CPF": "390.533.447-05",
    "BR_CNPJ": "16.727.230/0001-97",
    "DE_TAX_ID": "Steuernummer 36 574 261 809",
    "FR_NIR": "2 95 10 99 126 111 93",
    "NL_BSN": "BSN 111222333",
    "BE_NN": "85.07.30-033.28",
    "SE_PERSONNUMMER": "880320-0016",
    "NO_FODSELSNUMMER": "f\xf8dselsnummer 150780 00012",
    "DK_CPR": "211062-5629",
    "CH_AHV": "756.9217.0769.85",
    "AT_SVNR": "Sozialversicherungsnummer 1237 010180",
    "PT_NIF": "contribuinte 501964843",
    "CA_SIN": "123-456-782",
    "MX_CURP": "BOXW310820HNERXN09",
    "KR_RRN": "971013-9019902",
    "ZA_ID": "identity 7503305044089",
    "TR_TCKIMLIK": "kimlik 17291716060",
    "IE_PPS": "6433435F",
    "IL_ID": "teudat zehut 039337423",
    "CN_RIC": "360426199101010071",
    "TH_PIN": "citizen 1-2345-45678-78-1",
    "NZ_IRD": "49-098-576",
    "AR_CUIT": "20-05536168-2",
    "CL_RUT": "76.086.428-5",
}


def test_every_national_id_has_a_sample():
    assert SAMPLES.keys() == MODULES.keys()


@pytest.mark.parametrize("entity", SAMPLES)
def test_a_valid_number_is_found(entity):
    assert [name for name, _ in found(compiled(entity), f"is {SAMPLES[entity]}, yes")] == [entity]


#: Denmark gives out numbers without a check digit since 2007.
CHECKED = [entity for entity, sample in SAMPLES.items() if sample[-1].isdigit() and entity != "DK_CPR"]


@pytest.mark.parametrize("entity", CHECKED)
def test_a_wrong_check_digit_is_not_found(entity):
    sample = SAMPLES[entity]
    wrong = [sample[:-1] + str(digit) for digit in range(10) if str(digit) != sample[-1]]

    assert not all(found(compiled(entity), text) for text in wrong)


@pytest.mark.parametrize("entity", SAMPLES)
def test_without_its_package_an_entity_is_refused_by_the_extras_name(entity):
    with pytest.raises(UnknownEntity, match=rf"'{entity}'.*pip install 'llm-extproc\[ids\]'"):
        Policy(request={entity: Action.MASK}).compile(Direction.REQUEST)


def test_a_number_that_a_check_stumbles_over_is_taken():
    """python-stdnum raises `KeyError` for an area without counties."""
    assert validators()["CN_RIC"]("110003197001010013")
    assert not validators()["CN_RIC"]("110003197001010014")
