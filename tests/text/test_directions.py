"""Sentences that turn: real ones, those of the grammar decided on turned masks, and traps."""

import json
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from helpers.paths import SHARED
from rs2sam2.datasets.safe_pickle import load_plain_pickle
from rs2sam2.errors import ConfigError, TurnError
from rs2sam2.symmetry import SYMMETRIES
from rs2sam2.synthetic.scene import draw_scene
from rs2sam2.text.direction_words import TOPS
from rs2sam2.text.directions import turn, turns
from rs2sam2.text.grammar import describe_objects
from rs2sam2.text.position import uses_position
from rs2sam2.text.semantics import ImageSemantics, ReferredObject

LISTED = (Path(__file__).parent / 'turned_sentences.txt').read_text('utf-8')
BLOCKS = [block.strip().splitlines() for block in LISTED.split('\n\n')]
RIGHT = [tuple(block) for block in BLOCKS if block[0][0] not in '=!#']
RIGHT += [(line[2:],) * 3 for block in BLOCKS for line in block if line[0] == '=']
REFUSED = [line[2:] for block in BLOCKS for line in block if line[0] == '!']


def there_and_back(sentence, top='at the top'):
    """The elements that turn a sentence; asserts what every turned one must fulfil."""
    said = turns(sentence, top)
    assert said['identity'] == sentence
    for first, once in said.items():
        assert turn(once, SYMMETRIES[first].inverse.name, top) == sentence
        for second in said:
            whole = SYMMETRIES[first].then(SYMMETRIES[second]).name
            twice = turns(once, top).get(second)
            assert twice is None or whole not in said or twice == said[whole], (sentence, first, second)
    return set(said)


@pytest.mark.parametrize(('sentence', 'quarter', 'mirrored'), RIGHT)
def test_turned_right(sentence, quarter, mirrored):
    assert turn(sentence, 'rot90') == quarter
    assert turn(sentence, 'flip_horizontal') == mirrored
    assert there_and_back(sentence) == set(SYMMETRIES)


@pytest.mark.parametrize('sentence', REFUSED)
def test_refused(sentence):
    for element in SYMMETRIES:
        if element == 'identity':
            assert turn(sentence, element) == sentence
        else:
            with pytest.raises(TurnError) as raised:
                turn(sentence, element)
            assert raised.value.reason
            assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    'sentence',
    [
        'the uppermost ship',
        'the ship at the top of the pier',
        'the right hand side',
        'the tank in the leftmost column',
    ],
)
def test_some_turn_by_half_the_elements_only(sentence):
    assert there_and_back(sentence) == {'identity', 'rot180', 'flip_horizontal', 'flip_vertical'}


def test_the_datas_own_way_to_say_at_the_top():
    assert turn('a ship on the left', 'rot270') == 'a ship at the top'
    assert turn('a ship on the left', 'rot270', 'on the top') == 'a ship on the top'
    assert turn('a ship on the top', 'flip_vertical', 'on the top') == 'a ship at the bottom'
    with pytest.raises(ConfigError, match='on the top'):
        turn('a ship', 'rot90', 'in the top')


def test_the_error_carries_its_reason_through_processes():
    with pytest.raises(TurnError) as raised:
        turn('all right', 'rot90')
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.reason) == (str(raised.value), raised.value.reason)
    with pytest.raises(ConfigError, match='no symmetry'):
        turn('a ship', 'rot45')


def real_sentences():
    refs = SHARED / 'data/rrsisd/refs(unc).p'
    if not refs.is_file():
        pytest.skip(f'{refs} is not here')
    counts = Counter(sentence['sent'] for ref in load_plain_pickle(refs) for sentence in ref['sentences'])
    for path in sorted((SHARED / 'data/annotation_samples').glob('*.jsonl')):
        counts.update(json.loads(line)['sent'] for line in path.read_text().splitlines())
    return counts


@pytest.mark.parametrize('top', TOPS)
def test_real_sentences(top):
    counts = real_sentences()
    turned, sample = Counter(), sorted(counts)[::25]
    for sentence in sample:
        for element in there_and_back(sentence, top):
            turned[element] += 1
            if not uses_position(sentence):
                assert turn(sentence, element, top) == sentence
    assert min(turned[element] for element in SYMMETRIES) >= 0.98 * len(sample)


@pytest.mark.slow
@pytest.mark.parametrize('top', TOPS)
def test_all_real_sentences(top):
    counts = real_sentences()
    assert counts.total() == 17402 + 9
    turned = Counter()
    for sentence, count in counts.items():
        turned.update(dict.fromkeys(there_and_back(sentence, top), count))
    assert min(turned[element] for element in SYMMETRIES) >= 0.999 * counts.total()


def plain(text):
    """A sentence without what the grammar draws: the article, 'is', a capital."""
    text = re.sub(r'^(the|an?) ', 'the ', text.lower())
    return re.sub(r' is (?=on the|above|below)', ' ', text)


def valid_sentences(objects, target, size):
    """Everything that certainly means an object, by `semantics`."""
    semantics = ImageSemantics(objects, size)
    landmarks = {
        one.object_id: [p for p in semantics.phrases(one) if all(part.slot != 'choice' for part in p.parts)]
        for one in objects
    }
    phrases = semantics.phrases(target) + semantics.related_phrases(target, landmarks)
    return {plain(phrase.words()) for phrase in phrases}


def turned_objects(scene, symmetry):
    objects = []
    for one, mask in zip(scene.objects, symmetry.apply(scene.masks), strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        objects.append(ReferredObject(one.object_id, one.category, box, float(mask.sum()), one.colour))
    return objects


def decide(number):
    """Turn sentences of the grammar with their scenes until so many were decided."""
    decided, scenes = 0, 0
    while decided < number:
        rng = np.random.default_rng([12, scenes])
        scenes += 1
        scene = draw_scene(rng, 96)
        size = scene.image.shape[:2]
        expressions = describe_objects(scene.objects, size, rng, per_object=6)
        for symmetry in list(SYMMETRIES.values())[1:]:
            objects = turned_objects(scene, symmetry)
            valid = {one.object_id: valid_sentences(objects, one, size) for one in objects}
            for expression in expressions:
                said = turn(expression.text, symmetry.name, 'on the top')
                meant = [key for key, sentences in valid.items() if _swaps(plain(said)) & sentences]
                assert meant == [expression.object_id], (expression.text, symmetry.name, said)
                decided += 1
    return decided


def _swaps(text):
    """The sentence with its two adjectives in either order, as the grammar says them in both."""
    words = text.split()
    return {text} | {' '.join([*words[:i], words[i + 1], words[i], *words[i + 2 :]]) for i in range(len(words) - 1)}


def test_sentences_of_the_grammar_mean_the_same_object():
    assert decide(300) >= 300


@pytest.mark.slow
def test_2000_sentences_of_the_grammar_mean_the_same_object():
    assert decide(2000) >= 2000
