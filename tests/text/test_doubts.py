"""What a user is told about a sentence that may be meant otherwise than it is read."""

import pytest

from rs2sam2.text.doubts import doubts


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('the leftmots ship', "'leftmost'?"),
        ('the nothernmost tank', "'northernmost'?"),
        ('The ship on the letf of the pier', "'left'?"),
        ('the smalest tank in the north', "'smallest'?"),
        ('the lefft ship', "'left'?"),
        ('das linke Schiff', "'das' is not English"),
        ('die Häuser am Fluss', "'häuser' is not English"),
        ('le bateau à gauche', "'le' is not English"),
        ('左边的船', 'is not English'),
        ('tanks larger than 500 m2', "nothing measures '500 m2'"),
        ('the tank larger than the church', "nothing compares 'larger than' over the scene"),
        ('A ship is similar in size to the gray ship', "nothing compares 'similar in size to'"),
        ('the leftmost 10% of the image', "nothing measures '10%'"),
    ],
)
def test_what_is_doubted(text, said):
    (found,) = doubts(text)
    assert said in found


@pytest.mark.parametrize(
    'text',
    [
        'the leftmost ship',
        'a closet',
        'the bellow of easter',
        'the café on the left',
        'building 5 near the river',
        'ships other than the gray one',
        '',
        '?',
    ],
)
def test_what_is_not(text):
    assert doubts(text) == []
