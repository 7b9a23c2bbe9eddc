"""The labelled corpus: it is what its generator makes, and the engine finds what stands in it."""

import pytest

from benchmarks.redaction_corpus import PATH, corpus, read
from benchmarks.redaction_quality import COMPARED, ours, score, surest


@pytest.fixture(scope="module")
def sentences():
    return read()


def test_the_committed_corpus_is_what_its_generator_makes(sentences):
    assert sentences == corpus()
    assert len(sentences) >= 2000
    assert PATH.stat().st_size < 1_000_000


def test_every_entity_that_presidio_has_is_found_with_an_f1_above_ninety_percent(sentences):
    found = ours(sentences)

    worst = {entity: score(sentences, found, entity, 0.5).f1 for entity in COMPARED}
    assert {entity: f1 for entity, f1 in worst.items() if f1 < 0.9} == {}


def test_few_sentences_without_a_value_raise_an_alarm(sentences):
    found = ours([sentence for sentence in sentences if not sentence.spans])

    assert sum(map(bool, found)) <= len(found) * 0.03


def test_of_overlapping_findings_the_surest_counts():
    assert surest([("A", 0, 5, 0.4), ("B", 3, 9, 0.8), ("C", 9, 12, 0.1)], 0.2) == [("B", 3, 9)]
