"""Images: the answers are the command's, whoever else asks; what cannot be answered is one line."""

import copy
import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from helpers.services import ask, picture, service

EXPRESSIONS = ['the red ship', 'ship on the left', 'the harbor in the middle', 'red']


def expected(inferencer, content, expression, tmp_path, **options):
    """As `rs2sam2 segment` has it: a file, alone in its batch."""
    path = tmp_path / f'{threading.get_ident()}.png'
    path.write_bytes(content)
    return inferencer(path, expression, **options)[0]


def decoded(answer):
    return [coco_mask.decode(one['segmentation']).astype(bool) for one in answer.json()['results']]


def test_requests_that_come_together_get_the_masks_of_each_alone(client, inferencer, tmp_path):
    rng = np.random.default_rng(0)
    sizes = [tuple(int(side) for side in rng.integers(20, 160, 2)) for _ in range(20)]
    pictures = [picture(size, seed) for seed, size in enumerate(sizes)]

    def request(i):
        if i % 5 == 4:
            return ask(client, pictures[i][:50], 'the red ship')
        return ask(client, pictures[i], EXPRESSIONS[i % 4], EXPRESSIONS[(i + 1) % 4])

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(request, range(20)))
    for i, answer in enumerate(answers):
        if i % 5 == 4:
            assert answer.status_code == 422
            assert 'a.png is not an image' in answer.json()['error'] or 'cannot be decoded' in answer.json()['error']
            continue
        assert answer.status_code == 200, answer.text
        assert (answer.json()['width'], answer.json()['height']) == sizes[i]
        for k, mask in enumerate(decoded(answer)):
            alone = expected(inferencer, pictures[i], EXPRESSIONS[(i + k) % 4], tmp_path)
            np.testing.assert_array_equal(mask, alone.mask)
    text = client.get('/metrics').text
    batches, expressions = (
        float(next(line for line in text.splitlines() if line.startswith(name)).split()[1])
        for name in ('rs2sam2_batch_size_count', 'rs2sam2_batch_size_sum')
    )
    assert expressions == 32
    assert batches < 28, 'nothing was batched'
    assert client.service.model.waiting == 0


def test_a_pixel_that_a_batch_could_tip_is_decided_alone(client, inferencer, monkeypatch):
    monkeypatch.setattr('rs2sam2.serve.model.NEAR', 1.0)
    before = client.service.metrics.alone._value.get()
    answer = ask(client, picture(), *EXPRESSIONS)
    assert answer.status_code == 200
    assert client.service.metrics.alone._value.get() - before == 4


def test_png_and_geojson_are_the_same_mask(client, inferencer, tmp_path):
    content = picture((90, 70), 3)
    alone = expected(inferencer, content, 'ship', tmp_path)
    png = ask(client, content, 'ship', format='png')
    assert png.headers['content-type'] == 'image/png'
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(png.content))), alone.mask * np.uint8(255))
    assert f'"score": {alone.score:.3f}'[:12] in png.headers['RS2SAM2-Result']
    collection = ask(client, content, 'ship', 'red', format='geojson').json()
    area = 0.0
    for feature in collection['features']:
        if feature['properties']['expression'] == 'ship':
            for sign, ring in enumerate(feature['geometry']['coordinates']):
                x, y = np.array(ring).T
                area += (-1 if sign else 1) * abs(float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2))
    assert area == alone.area


def test_clicks_turned_copies_and_scores(client, inferencer, tmp_path):
    content = picture((60, 50), 1)
    answer = ask(client, content, 'ship', box='1,2,30,40', point=['5,6', '50,40,0'])
    alone = expected(inferencer, content, 'ship', tmp_path, box=(1, 2, 30, 40), point=[(5, 6), (50, 40, 0)])
    np.testing.assert_array_equal(decoded(answer)[0], alone.mask)
    turned = ask(client, content, 'red ship', tta='rot180')
    assert turned.json()['results'][0]['averaged_over'] == ['identity', 'rot180']
    assert ask(client, content, 'ship', min_score=1).json()['results'][0]['empty']


@pytest.mark.parametrize(
    ('fields', 'said'),
    [
        (dict(point='5'), 'point.0: String should match'),
        (dict(point='500,2'), 'inside the image of 40x30'),
        (dict(box='1,2,3'), 'box: String should match'),
        (dict(box='9,2,3,4'), 'is not x0, y0, x1, y1 inside'),
        (dict(min_score='nan'), 'min_score'),
        (dict(min_score=2), 'min_score'),
        (dict(tta='upside_down'), 'tta: String should match'),
        (dict(format='bmp'), 'format'),
        (dict(colour='red'), 'colour: Extra inputs'),
        (dict(expression=['   ']), 'is empty'),
        (dict(expression=['a' * 1001]), 'expression.0'),
        (dict(expression=['ship ' * 150]), 'has room for 30'),
        (dict(expression=['a'] * 33), 'expression'),
        (dict(expression=['a', 'b'], format='png'), 'for a single expression'),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(client, fields, said):
    data = {'expression': ['ship'], **fields}
    answer = client.post('/segment', files={'image': ('a.png', picture())}, data=data)
    assert answer.status_code == 422
    assert set(answer.json()) == {'error'}
    assert said in answer.json()['error']
    assert '\n' not in answer.json()['error']


def test_two_images_are_not_taken_for_one(client):
    files = [('image', ('a.png', picture())), ('image', ('b.png', picture()))]
    answer = client.post('/segment', files=files, data={'expression': 'ship'})
    assert (answer.status_code, answer.json()) == (422, {'error': 'image is given 2 times: send it once'})


def test_one_bad_expression_of_a_batch_harms_no_other(client):
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda text: ask(client, picture(), text), ['ship', ' ', 'red', ' ']))
    assert [answer.status_code for answer in answers] == [200, 422, 200, 422]


def test_a_name_from_outside_is_shown_and_not_obeyed(client):
    files = {'image': ('../../\x1b[31m\u202eevil.png', b'no image')}
    answer = client.post('/segment', files=files, data={'expression': 'ship'})
    assert answer.status_code == 422
    assert '\x1b' not in answer.json()['error']
    assert '/tmp' not in answer.json()['error']


def _form(name: bytes, content: bytes) -> bytes:
    lines = [
        b'--X', b'Content-Disposition: form-data; name="expression"', b'', b'ship',
        b'--X', b'Content-Disposition: form-data; name="image"; filename="' + name + b'"', b'', content, b'--X--', b'',
    ]  # fmt: skip
    return b'\r\n'.join(lines)


@pytest.mark.parametrize(
    ('kind', 'body', 'status', 'said'),
    [
        ('multipart/form-data', _form(b'a.png', picture()), 400, 'boundary'),
        ('multipart/form-data; boundary=', _form(b'a.png', picture()), 400, ''),
        ('multipart/form-data; boundary=X', _form(b'a.png', picture())[:-60], 422, 'image'),
        ('multipart/form-data; boundary=X', b'garbage', 400, 'Invalid multipart'),
        ('multipart/form-data; boundary=X', b'--X\r\n' + 20_000 * b'A: b\r\n' + b'\r\n', 400, ''),
        ('multipart/form-data; boundary=X', 2000 * _form(b'a.png', b'')[:-7] + b'--X--\r\n', 400, 'Too many'),
        ('multipart/form-data; boundary=X', _form(b'a' * 70_000, picture()), 400, ''),
        ('multipart/form-data; boundary=X', _form(b'a"\r\nX-Evil: 1\r\n\r\n.png', picture()), 422, 'not an image'),
        ('multipart/form-data; boundary=X', _form(b'\xff\xfe\0../..', picture()), 200, ''),
        ('application/json', b'{"image": NaN, "expression": 1e999}', 422, 'image'),
        ('application/x-www-form-urlencoded', b'expression=a&image=b', 422, 'send a file'),
        ('', b'', 422, 'image'),
    ],
    ids=range(12),
)
def test_forms_that_are_none(client, kind, body, status, said):
    answer = client.post('/segment', content=body, headers={'Content-Type': kind} if kind else {})
    assert answer.status_code == status, answer.text
    assert 'x-evil' not in answer.headers
    if status != 200:
        assert set(answer.json()) == {'error'}
        assert said in answer.json()['error']
        assert '\n' not in answer.json()['error']


@pytest.mark.parametrize('method', ['HEAD', 'OPTIONS', 'PUT', 'TRACE', 'NONE'])
def test_methods_that_an_address_has_not(client, method):
    answer = client.request(method, '/segment')
    assert (answer.status_code, answer.headers['allow']) == (405, 'POST')


def test_bombs_are_refused_by_their_headers(client):
    tags = ((256, 60_000), (257, 60_000), (262, 1), (273, 8))
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags)
    tiff = b'II*\0\x08\0\0\0' + struct.pack('<H', len(tags)) + entries + bytes(4)
    jpeg2000 = bytearray(picture(form='JPEG2000'))
    place = jpeg2000.index(b'ihdr') + 4
    jpeg2000[place : place + 8] = struct.pack('>II', 60_000, 60_000)
    webp = b'RIFF\x1e\0\0\0WEBPVP8X\x0a' + bytes(7) + b'\xff' * 6
    chunks = (b'IHDR' + struct.pack('>IIBBBBB', 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0), b'IDAT')
    parts = (struct.pack('>I', len(one) - 4) + one + struct.pack('>I', zlib.crc32(one)) for one in chunks)
    png = b'\x89PNG\r\n\x1a\n' + b''.join(parts)
    for content in (tiff, bytes(jpeg2000), webp, png):
        answer = ask(client, content, 'ship')
        assert answer.status_code == 422
        assert 'pixels' in answer.json()['error'], answer.text


def test_no_more_wait_than_may(inferencer, tmp_path):
    with service(inferencer, tmp_path, max_waiting=2, time_limit=0.3) as client:
        full = ask(client, picture(), 'ship', 'red', 'harbor')
        assert full.status_code == 429
        assert 1 <= int(full.headers['Retry-After']) <= 60
        block = threading.Event()
        client.service.model._thread.submit(block.wait)
        late = ask(client, picture(), 'ship')
        block.set()
        assert late.status_code == 504
        assert 'no answer within 0.3 s' in late.json()['error']
        # Whoever gave up is not computed, and makes room.
        assert client.service.model.waiting == 0
        assert ask(client, picture(), 'ship').status_code == 200
        assert client.service.metrics.batches._sum.get() == 1


def test_too_many_pixels(inferencer, tmp_path):
    with service(inferencer, tmp_path, max_pixels=100) as client:
        answer = ask(client, picture(), 'ship')
        assert answer.status_code == 422
        assert '1,200 pixels, more than 100' in answer.json()['error']


def test_an_error_of_the_server_is_said_to_whom_it_met(client, inferencer, monkeypatch):
    forward = type(inferencer).forward

    def breaks(self, batch, *points):
        if any('harbor' in sample.views['identity']['data_samples'].expression for sample in batch):
            raise ZeroDivisionError('here')
        return forward(self, batch, *points)

    monkeypatch.setattr(type(inferencer), 'forward', breaks)
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda text: ask(client, picture(), text), ['ship', 'harbor']))
    assert [answer.status_code for answer in answers] == [200, 500]
    assert answers[1].json() == {'error': 'ZeroDivisionError: an error of the server, told in its log'}


def test_the_model_is_told_by_the_name_that_people_know(client, inferencer):
    told = client.get('/model').json()
    assert told['name'] == inferencer.source.config_path.name
    assert told['weights'] == inferencer.source.weights.name
    for place, name in (('published/demo/bundle.json', 'demo'), ('models/demo.onnx', 'demo.onnx')):
        other = copy.copy(inferencer)
        other.source = other.source._replace(config_path=Path(place))
        assert other.model_name == name
