"""Choosing among objects by a reading: on true masks the sentence's own object, in every kind of sentence."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from rs2sam2.synthetic.mosaic import draw_mosaic
from rs2sam2.text.choosing import choose
from rs2sam2.text.grammar import describe_objects
from rs2sam2.text.reading import read_expression
from rs2sam2.text.semantics import ReferredObject

SIDE = 300


def tank(number, x, y, side=20, colour=None, category='tank'):
    return ReferredObject(number, category, (x, y, x + side, y + side), float(side * side), colour)


def chosen(text, targets, landmarks=(), scores=None):
    reading = read_expression(text)
    scores = {one.object_id: 0.5 for one in (*targets, *landmarks)} | (scores or {})
    return choose(reading, targets, landmarks, (SIDE, SIDE), scores)


@pytest.mark.parametrize('seed', range(2))
def test_true_objects_of_a_mosaic_are_chosen_by_the_sentences_that_mean_them(seed):
    rng = np.random.default_rng([5, seed])
    mosaic = draw_mosaic(rng, 600)
    scores = {one.object_id: 1.0 for one in mosaic.objects}
    kinds = Counter()
    for expression in describe_objects(mosaic.objects, (600, 600), rng, per_object=4):
        reading = read_expression(expression.text)
        if reading is None:
            continue
        of = [[o for o in mosaic.objects if asked.endswith(o.category)] for asked in reading.questions]
        decision = choose(reading, of[0], of[-1], (600, 600), scores)
        assert decision.taken == {expression.object_id}, expression.text
        kinds.update(expression.kinds)
    assert min(kinds[kind] for kind in ('position', 'relation', 'colour', 'size')) > 3


def test_the_leftmost_needs_no_lead():
    decision = chosen('the leftmost tank', [tank(0, 52, 10), tank(1, 50, 200), tank(2, 90, 90)])
    assert decision.taken == {1}
    assert 'leftmost' in decision.how


def test_a_colour_that_is_certainly_another_is_out_and_an_unknown_one_is_not():
    tanks = [tank(0, 10, 10, colour='red'), tank(1, 10, 200, colour=None)]
    decision = chosen('the white tank on the left', tanks)
    assert decision.taken == {1}
    assert decision.why[0] == 'not white'


def test_several_are_all_that_fit():
    tanks = [tank(0, 10, 10), tank(1, 10, 140), tank(2, 140, 140), tank(3, 10, 270)]
    assert chosen('all tanks on the left', tanks).taken == {0, 1, 3}
    assert chosen('the tank on the left', tanks).taken == {1}


def test_of_several_alike_the_highest_score_is_taken_and_said():
    tanks = [tank(0, 10, 120), tank(1, 20, 160)]
    decision = chosen('the tank on the left', tanks, scores={1: 0.52})
    assert decision.taken == {1}
    assert 'highest score' in decision.how


def test_a_direction_takes_the_nearest_of_those_that_lie_there():
    ships = [tank(0, 10, 150), tank(1, 100, 150), tank(2, 200, 150)]
    pier = tank(9, 150, 150, category='pier')
    assert chosen('the ship left of the pier', ships, [pier]).taken == {1}
    assert chosen('all ships left of the pier', ships, [pier]).taken == {0, 1}
    assert chosen('the ship nearest to the pier', ships, [pier]).taken in ({1}, {2})
    assert chosen('the ship farthest from the pier', ships, [pier]).taken == {0}


def test_what_it_is_related_to_is_never_the_target_itself():
    tanks = [tank(0, 10, 150), tank(1, 200, 150)]
    assert chosen('the tank left of the tank on the right', tanks, tanks).taken == {0}
    again = tank(7, 201, 151)
    decision = chosen('the tank nearest to the large tank', tanks, [again])
    assert decision.taken == {0}
    assert 'related to' in decision.why[1]


def test_nothing_is_taken_where_nothing_fits_or_the_landmark_is_missing():
    assert not chosen('the tank on the left', [tank(0, 250, 10)]).taken
    missing = chosen('the tank above the pier', [tank(0, 250, 10)], [])
    assert not missing.taken
    assert "'the pier' was not found" in missing.how
    assert not chosen('the tank on the left', []).taken


def test_what_may_be_none_is_the_leftmost_as_likely_as_it_is_one_and_nothing_before_it_is():
    tanks = [tank(0, 10, 10), tank(1, 120, 10), tank(2, 250, 250)]
    scores = {0: 0.2, 1: 0.7, 2: 0.9}
    decision = chosen('the leftmost tank', tanks, scores=scores)
    assert decision.taken == {1}
    assert decision.chances == pytest.approx({0: 0.2, 1: 0.8 * 0.7, 2: 0.8 * 0.3 * 0.9})
    assert '(20% likely)' in decision.why[0]
    assert chosen('the tank on the upper left', tanks, scores=scores).taken == {0}
    assert chosen('all tanks at the top', tanks, scores=scores).taken == {0, 1}


def test_every_object_that_may_be_the_landmark_is_tried():
    ships = [tank(0, 10, 150, category='ship'), tank(1, 10, 20, category='ship')]
    piers = [tank(8, 100, 150, category='pier'), tank(9, 100, 20, category='pier')]
    # The likelier pier has an unlikely ship beside it.
    decision = chosen('the ship left of the pier', ships, piers, scores={0: 0.1, 1: 0.9, 8: 0.6, 9: 0.5})
    assert decision.taken == {1}
    assert decision.landmark.taken == {8}
    assert chosen('the ship left of the pier', ships, piers, scores={0: 0.8, 1: 0.9, 8: 0.9, 9: 0.3}).taken == {0}


def test_chances_are_those_of_all_worlds():
    """Against counting: every object is there or not, and the sentence means the first that is."""
    tanks = [tank(number, 20 * number + 5, 37 * number % 280) for number in range(6)]
    scores = {number: 0.1 + 0.13 * number for number in range(6)}
    counted = dict.fromkeys(scores, 0.0)
    for world in product((False, True), repeat=6):
        chance = np.prod([scores[n] if there else 1 - scores[n] for n, there in enumerate(world)])
        if any(world):
            counted[world.index(True)] += chance
    assert chosen('the leftmost tank', tanks, scores=scores).chances == pytest.approx(counted)
