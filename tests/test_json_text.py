"""JSON as people and tools write it: the right values, or one line."""

import json
import os

import numpy as np
import pytest

from rs2sam2.datasets.coco import read_coco
from rs2sam2.errors import DataError
from rs2sam2.json_text import json_line, parse_json, read_json


@pytest.mark.parametrize(
    'value', [{}, [], 'a', 1, -2.5, None, True, {'a': [1, {'b': 'ü 🚢 \ud800'}]}, 2**63, 10**39, [[0.1] * 9] * 9]
)
def test_what_is_json_is_read(value):
    for text in (json.dumps(value), json_line(value), b'\xef\xbb\xbf' + json_line(value), '\ufeff' + json.dumps(value)):
        assert parse_json(text) == value


LONG = 'x' * 70_000  # a large file takes a faster way


@pytest.mark.parametrize('before', ['', f'"{LONG}", '])
@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is twice"),
        ('NaN', 'NaN is no number'),
        ('-Infinity', '-Infinity is no number'),
        ('1e999', 'too large a number'),
        ('-1E+400', 'too large a number'),
        ('9' * 400, 'a number of 400 digits'),
        ('-' + '9' * 5000, 'a number of 5,000 digits'),
        ('[' * 101 + ']' * 101, 'nested more than 100 deep'),
        ('{"a":' * 200 + '1' + '}' * 200, 'nested more than 100 deep'),
        ('[' * 10_000 + ']' * 10_000, 'nested more than 100 deep'),
        ('[1, 2', 'delimiter'),
        ("{'a': 1}", 'property name'),
    ],
)
def test_what_is_not_is_one_line(text, message, before, tmp_path):
    text = f'[{before}{text}]' if before else text
    with pytest.raises(ValueError, match=message):
        parse_json(text)
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(DataError, match=rf'a\.json is not whole JSON .*{message}') as caught:
        read_json(tmp_path / 'a.json')
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_text_or_no_file(tmp_path):
    (tmp_path / 'latin.json').write_bytes('"é"'.encode('latin1'))
    with pytest.raises(DataError, match=r'latin\.json is not whole JSON'):
        read_json(tmp_path / 'latin.json')
    os.mkfifo(tmp_path / 'pipe.json')
    for path in (tmp_path / 'pipe.json', '/dev/zero', tmp_path, tmp_path / 'gone.json'):
        with pytest.raises(DataError):
            read_json(path)


def test_nan_is_not_written():
    with pytest.raises(ValueError, match='not JSON compliant'):
        json_line(dict(score=np.nan))


def test_ids_of_coco_as_numbers_and_as_text(tmp_path):
    def content(*kinds):
        image, of_image, category, of_category = kinds
        one = dict(id=1, image_id=of_image(7), category_id=of_category(3), segmentation=[[1, 1, 9, 1, 9, 9]])
        images = [dict(id=image(7), file_name='a.png', height=30, width=40)]
        return dict(images=images, annotations=[one], categories=[dict(id=category(3), name='ship')])

    read = []
    for number, kinds in enumerate(((int, int, int, int), (str, int, str, int), (int, str, int, str), (str,) * 4)):
        (tmp_path / f'{number}.json').write_text(json.dumps(content(*kinds)), encoding='utf-8-sig')
        read.append(read_coco(tmp_path / f'{number}.json'))
    assert all(one == read[0] for one in read)
    wrong = content(int, int, int, int)
    for change, message in (
        (dict(categories=[dict(id=3, name='  ')]), 'category 3 has an empty name'),
        (dict(categories=[dict(id='three', name='ship')]), "category id 'three' is no number"),
        (dict(categories=[dict(id=3, name='ship'), dict(id='3', name='boat')]), 'twice'),
        (dict(images=[wrong['images'][0], wrong['images'][0] | dict(id='7', file_name='b.png')]), 'twice'),
    ):
        (tmp_path / 'wrong.json').write_text(json.dumps(wrong | change))
        with pytest.raises(DataError, match=message):
            read_coco(tmp_path / 'wrong.json')
