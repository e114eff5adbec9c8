"""The expression grammar, against a reader of its own that knows only the sentence and the objects."""

import math
import re

import numpy as np
import pytest

from rs2sam2.text.choosing import choose
from rs2sam2.text.grammar import (
    COLOURS,
    ReferredObject,
    Wording,
    absent_expression,
    absent_group,
    describe_groups,
    describe_objects,
    measure_colour,
    vocabulary,
)
from rs2sam2.text.position import uses_position
from rs2sam2.text.reading import read_expression
from rs2sam2.text.semantics import CELLS

CATEGORIES = ('airplane', 'storage tank', 'ground track field', 'ship')
SIDE = 300


def population(rng, number):
    objects = []
    for index in range(number):
        (x, y), (w, h) = rng.uniform(20, SIDE - 20, 2), rng.uniform(10, 40, 2)
        colour = rng.choice(['red', 'white', 'gray', 'blue', None])
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        category = str(CATEGORIES[rng.integers(rng.integers(1, 5))])
        objects.append(ReferredObject(index, category, box, w * h * 0.7, colour))
    return objects


def angle_between(a, b):
    return abs((a - b + 180) % 360 - 180)


def read(text, objects):
    """Ids of the objects that a reader may take the sentence to mean: crisp borders, every usual reading allowed."""
    text = text.lower()
    one_of_two = re.fullmatch(r'the (\w+) one of the two (.*)s', text)
    most = re.fullmatch(r'the (leftmost|rightmost|topmost|bottommost|largest|smallest) (.*)', text)
    if one_of_two or most:
        word, noun = (one_of_two or most).groups()
        group = read(f'the {noun}', objects)
        if one_of_two:
            assert len(group) == 2, text
        keys = {
            'left': lambda o: o.centre[0],
            'right': lambda o: -o.centre[0],
            'upper': lambda o: o.centre[1],
            'lower': lambda o: -o.centre[1],
            'large': lambda o: -o.area,
            'small': lambda o: o.area,
        }
        word = {'top': 'upper', 'bottom': 'lower'}.get(re.sub('(most|er|r|st|est)$', '', word), word)
        key = next(function for name, function in keys.items() if word.startswith(name))
        return {min((o for o in objects if o.object_id in group), key=key).object_id}
    related = re.fullmatch(r'(.*?) (?:is )?(on the (?:upper |lower )?(?:left|right) of|above|below) (the .*)', text)
    if related:
        noun, direction, landmark = related.groups()
        (landmark_id,) = read(landmark, objects)
        landmark = next(o for o in objects if o.object_id == landmark_id)
        x = -1 if 'left' in direction else 1 if 'right' in direction else 0
        y = (
            -1
            if direction == 'above' or 'upper' in direction
            else 1
            if direction == 'below' or 'lower' in direction
            else 0
        )
        wide = 30 if x and y else 60
        found = set()
        for o in objects:
            dx, dy = o.centre[0] - landmark.centre[0], o.centre[1] - landmark.centre[1]
            off = angle_between(math.degrees(math.atan2(dy, dx)), math.degrees(math.atan2(y, x)))
            if o is not landmark and off <= wide:
                found.add(o.object_id)
        return found & read(noun, objects)
    placed = re.fullmatch(r'(.*?) (?:on|at|in) the ((?:upper |lower )?(?:left|right)|top|bottom|middle)', text)
    if placed:
        noun, place = placed.groups()
        found = set()
        for o in objects:
            column, row = (min(int(3 * c / SIDE), 2) for c in o.centre)
            needed = []
            if 'left' in place or 'right' in place:
                needed.append(column == (0 if 'left' in place else 2))
            if re.search('upper|top|lower|bottom', place):
                needed.append(row == (0 if re.search('upper|top', place) else 2))
            if place == 'middle':
                needed = [column == 1, row == 1]
            if all(needed):
                found.add(o.object_id)
        return found & read(noun, objects)
    match = re.fullmatch(rf'(?:the|an?) (.*?)({"|".join(CATEGORIES)})', text)
    assert match, text
    adjectives, category = match[1].split(), match[2]
    kin = [o for o in objects if o.category == category]
    mean = np.exp(np.mean([math.log(o.area) for o in kin]))
    for word in adjectives:
        if word in COLOURS:
            kin = [o for o in kin if o.colour in (None, word)]
        elif word in ('large', 'small'):
            kin = [o for o in kin if (o.area > mean) == (word == 'large') and o.area != mean]
        else:
            assert word in ('oval', 'rounded'), text
    return {o.object_id for o in kin}


def test_each_expression_means_one_object_to_an_independent_reader():
    rng = np.random.default_rng(0)
    kinds = set()
    for number in rng.integers(1, 8, 150):
        objects = population(rng, number)
        for expression in describe_objects(objects, (SIDE, SIDE), rng, per_object=4):
            assert read(expression.text, objects) == {expression.object_id}, (expression, objects)
            assert expression.text[0].isupper()
            assert not re.search(r'\b(\w+) \1\b', expression.text.lower())
            assert not re.search(r'\b(?:a [aeiou]|an [^aeiou])', expression.text.lower())
            kinds |= expression.kinds
    assert kinds == {'class', 'colour', 'size', 'shape', 'position', 'relation'}


def test_expressions_stay_true_when_every_measurement_is_a_little_off():
    rng = np.random.default_rng(1)
    for _ in range(60):
        objects = population(rng, 5)
        expressions = describe_objects(objects, (SIDE, SIDE), rng)
        for _ in range(4):
            noisy = []
            for o in objects:
                dx, dy = rng.uniform(-0.015, 0.015, 2) * SIDE
                box = (o.bbox[0] + dx, o.bbox[1] + dy, o.bbox[2] + dx, o.bbox[3] + dy)
                colour = rng.choice(COLOURS) if o.colour is None else o.colour
                noisy.append(ReferredObject(o.object_id, o.category, box, o.area * rng.uniform(0.96, 1.04), colour))
            for expression in expressions:
                assert read(expression.text, noisy) == {expression.object_id}, (expression, noisy)


def box_at(x, y, half=10):
    return (x - half, y - half, x + half, y + half)


@pytest.mark.parametrize(
    ('first', 'second', 'never'),
    [
        (('white', 150, 150, 400), ('gray', 50, 60, 400), r'^(The|A) (white|gray) ship$'),
        (('red', 150, 150, 400), (None, 50, 60, 400), r'^(The|A) red ship$'),
        (('red', 101, 150, 400), ('red', 250, 150, 400), r'ship (on the left|in the middle)$'),
        (('red', 150, 150, 400), ('red', 50, 60, 440), r'large|small'),
        (('red', 150, 150, 400), ('red', 160, 280, 400), r'leftmost|rightmost|left one|right one|lower right of'),
    ],
)
def test_a_doubtful_word_is_not_used(first, second, never):
    objects = [ReferredObject(i, 'ship', box_at(x, y), a, c) for i, (c, x, y, a) in enumerate((first, second))]
    texts = set()
    for seed in range(30):
        texts |= {e.text for e in describe_objects(objects, (SIDE, SIDE), np.random.default_rng(seed), 4)}
    assert len(texts) > 4
    assert not [text for text in texts if re.search(never, text)]


def test_objects_that_nothing_tells_apart_get_no_expression():
    twins = [ReferredObject(i, 'ship', box_at(150, 150), 400.0, 'red') for i in range(2)]
    assert describe_objects(twins, (SIDE, SIDE), np.random.default_rng(0)) == []
    with pytest.raises(ValueError, match='unique'):
        describe_objects([twins[0], twins[0]], (SIDE, SIDE), np.random.default_rng(0))


def test_equal_generators_give_equal_sentences_and_others_do_not():
    objects = population(np.random.default_rng(3), 6)
    runs = [describe_objects(objects, (SIDE, SIDE), np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_uses_position_agrees_with_the_grammar():
    rng = np.random.default_rng(5)
    for _ in range(40):
        for expression in describe_objects(population(rng, 5), (SIDE, SIDE), rng):
            assert uses_position(expression.text) == bool({'position', 'relation'} & expression.kinds), expression


def test_vocabulary_has_every_word_that_is_said():
    rng = np.random.default_rng(6)
    words = set(vocabulary(CATEGORIES))
    for _ in range(60):
        said = [e.text for e in describe_objects(population(rng, 5), (SIDE, SIDE), rng)]
        said.append(absent_expression(str(rng.choice(CATEGORIES)), rng))
        assert {word for text in said for word in text.split()} <= words


@pytest.mark.parametrize(
    ('rgb', 'name'),
    [
        ((240, 240, 238), 'white'),
        ((128, 130, 133), 'gray'),
        ((25, 25, 28), 'black'),
        ((190, 40, 40), 'red'),
        ((230, 130, 40), 'orange'),
        ((230, 200, 60), 'yellow'),
        ((50, 130, 70), 'green'),
        ((70, 180, 185), 'cyan'),
        ((40, 80, 180), 'blue'),
        ((130, 50, 150), 'purple'),
        ((115, 75, 45), 'brown'),
        ((196, 196, 196), None),
        ((150, 130, 120), None),
        ((44, 69, 75), None),
        ((42, 56, 38), None),
    ],
)
def test_measure_colour_names_plain_colours_and_is_silent_between_them(rgb, name):
    pixels = np.clip(np.random.default_rng(0).normal(rgb, 4, (500, 3)), 0, 255).astype(np.uint8)
    assert measure_colour(pixels) == name


def test_measure_colour_stands_shadow_but_not_two_colours():
    red, dark, white = ([list(rgb)] for rgb in ((190, 40, 40), (70, 60, 60), (240, 240, 240)))
    assert measure_colour(np.array(red * 70 + dark * 30, np.uint8)) == 'red'
    assert measure_colour(np.array(red * 55 + white * 45, np.uint8)) is None
    assert measure_colour(np.zeros((0, 3), np.uint8)) is None


def test_an_unknown_size_is_never_said_and_never_rules_out():
    def texts(areas):
        objects = [
            ReferredObject(i, 'ship', box_at(50 + 60 * i, 60 + 50 * i), area, None) for i, area in enumerate(areas)
        ]
        found = [describe_objects(objects, (SIDE, SIDE), np.random.default_rng(seed), 9) for seed in range(8)]
        return {(e.object_id, e.text) for one in found for e in one if 'size' in e.kinds}

    assert any('largest' in text for _, text in texts([400.0, 900.0, 9000.0]))
    assert texts([400.0, None, None]) == set()
    assert not [text for _, text in texts([400.0, 9000.0, None]) if re.fullmatch(r'(The|A) (large|small) ship', text)]


def test_the_largest_of_a_colour_is_said_beside_one_of_unknown_size():
    ships = (('white', 400.0), ('white', 9000.0), ('red', None))
    objects = [ReferredObject(i, 'ship', box_at(50 + 60 * i, 60 + 50 * i), a, c) for i, (c, a) in enumerate(ships)]
    said = {e.text: e.object_id for e in describe_objects(objects, (SIDE, SIDE), np.random.default_rng(0), 99)}
    assert said['The largest white ship'] == 1


def test_cautious_wording():
    wording = Wording(size_margin=2.0, swapped=0.0, most_of_two=False)
    said = {
        e.text
        for areas in ((400.0, 9000.0), (400.0, 700.0))
        for seed in range(30)
        for e in describe_objects(
            [ReferredObject(i, 'ship', box_at(60 + 150 * i, 150), area, 'red') for i, area in enumerate(areas)],
            (SIDE, SIDE),
            np.random.default_rng(seed),
            9,
            wording,
        )
        if 'size' in e.kinds and (areas[1] == 700.0 or re.search('red (large|small)|est ship', e.text))
    }
    assert said == set()


def test_what_lies_across_the_image_leads_nowhere():
    wide = ReferredObject(0, 'bridge', (5.0, 200.0, 295.0, 230.0), 5000.0, None)
    short = ReferredObject(1, 'bridge', (60.0, 40.0, 140.0, 60.0), 1600.0, None)

    def texts(wording):
        return {
            e.text
            for seed in range(20)
            for e in describe_objects([wide, short], (SIDE, SIDE), np.random.default_rng(seed), 9, wording)
        }

    assert any('left one' in text for text in texts(Wording()))
    cautious = texts(Wording(whole_leads=True))
    assert not [text for text in cautious if re.search('left one|right one|leftmost|rightmost', text)]
    assert any('upper one' in text for text in cautious)


def test_each_group_sentence_means_all_of_a_kind_and_only_those():
    rng = np.random.default_rng(2)
    kinds = set()
    for _ in range(40):
        objects = population(rng, int(rng.integers(1, 9)))
        for group in describe_groups(objects, (SIDE, SIDE), rng, number=9):
            words = group.text.lower().replace(',', '').split()
            assert words[0] in ('all', 'the')
            category = next(one for one in CATEGORIES if f'{one}s' in group.text)
            colour = next((word for word in COLOURS if word in words), None)
            place = next((cell for row in CELLS for cell in row if group.text.endswith(f' {cell}')), None)
            meant = [one for one in objects if one.object_id in group.object_ids]
            assert {one.category for one in meant} == {category}
            assert colour is None or {one.colour for one in meant} == {colour}
            if place is None and colour is None and 'size' not in group.kinds:
                assert len(meant) == sum(one.category == category for one in objects)
            if place is not None:
                reading = read_expression(group.text)
                scores = {one.object_id: 1.0 for one in objects}
                alike = [one for one in objects if one.category == category]
                assert choose(reading, alike, [], (SIDE, SIDE), scores).taken == set(group.object_ids)
            assert len(meant) > 1 or words[0] == 'all'
            kinds |= group.kinds
    assert kinds == {'class', 'colour', 'size', 'position'}


def test_an_absent_group_is_absent():
    rng = np.random.default_rng(5)
    objects = [one for one in population(rng, 8) if one.category != 'ship']
    for _ in range(30):
        said = absent_group(objects, ['ship'], rng)
        colour = next((word for word in COLOURS if f' {word} ' in said), None)
        assert 'ships' in said or all(one.colour not in (None, colour) for one in objects if one.category in said)
    assert absent_group([objects[0]], [], rng, colours=()) is None
