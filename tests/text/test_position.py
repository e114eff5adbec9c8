"""Which sentences say where their object is: the real ones of RRSIS-D, and what GIS people type."""

from pathlib import Path

import pytest

from rs2sam2.datasets.safe_pickle import load_plain_pickle
from rs2sam2.text.position import uses_position

TYPED = Path(__file__).with_name('gis_sentences.txt').read_text().splitlines()
TYPED = [line for line in TYPED if not line.startswith('#')]
# All words of direction and all clauses of place that RRSIS-D's 95 words can make.
PLACES = {'left', 'right', 'top', 'bottom', 'middle', 'upper', 'lower', 'above', 'below'}
CLAUSES = ('is in the', 'is on the', 'is driving on the', 'is lying in the', 'is parked in the', 'is parked at the')
CLAUSES += ('is going through the', 'is anchored in the', 'is running on the')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('The vehicle is driving on the bridge', True),
        ('A vehicle is parked in the expressway service area', True),
        ('The ground track field is in the stadium', True),
        ('The overpass is below the overpass', True),
        ('The frustum of a cone chimney', False),
        ('The ship is similar in size to the ship', False),
        ('The baseball field is much smaller than the stadium', False),
        ('The overpass', False),
    ],
)
def test_uses_position_on_the_sentence_forms_of_rrsisd(text, expected):
    assert uses_position(text) is expected


@pytest.mark.parametrize('line', TYPED)
def test_what_gis_people_type(line):
    assert uses_position(line[2:]) is (line[0] == '+')


def test_there_are_enough_of_both_kinds():
    assert len(TYPED) == len(set(TYPED)) == 336
    assert 140 < sum(line.startswith('+') for line in TYPED) < 196


@pytest.mark.shared
def test_all_real_sentences_of_rrsisd(shared):
    refs = load_plain_pickle(shared / 'data/rrsisd/refs(unc).p')
    texts = [sentence['sent'] for ref in refs for sentence in ref['sentences']]
    assert len(texts) == 17402
    said = {text: bool(PLACES & set(text.lower().split())) or any(one in text for one in CLAUSES) for text in texts}
    assert [text for text, right in said.items() if uses_position(text) != right] == []
    assert sum(said[text] for text in texts) == 12173
