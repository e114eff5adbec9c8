"""The page: what a visitor's session computes, and the page itself in a real browser."""

import html
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.work_dirs import make_image, make_work_dir
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.errors import ConfigError, DataError

rasterio = pytest.importorskip('rasterio')

from rs2sam2.page.session import BESIDE_TARGET, BOX_CORNER, ON_TARGET, VIEW_SIDE, Session, open_picture  # noqa: E402

CHROMIUM = '/usr/bin/chromium'
# As root, and without the browser's own calls to the network.
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking']
FLAGS += ['--disable-component-update', '--disable-sync']


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    return make_work_dir(tmp_path_factory.mktemp('model') / 'run', point_prompts=True)


@pytest.fixture(scope='module')
def inferencer(work_dir):
    return RS2SAM2Inferencer(work_dir)


@pytest.fixture(scope='module')
def image(tmp_path_factory) -> Path:
    return make_image(tmp_path_factory.mktemp('images') / 'a.png')


def area_of(ring: list) -> float:
    """Signed area of a ring, by the shoelace formula."""
    x, y = np.array(ring, dtype=float).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def area_of_polygons(collection: dict) -> float:
    total = 0.0
    for feature in collection['features']:
        outer, *holes = feature['geometry']['coordinates']
        total += abs(area_of(outer)) - sum(abs(area_of(hole)) for hole in holes)
    return total


def test_clicks_lie_where_they_were_made(inferencer, image):
    session = open_picture(str(image))
    factor = VIEW_SIDE / 40
    assert session.picture(0.5).shape == (round(30 * factor), VIEW_SIDE, 3)
    # The middle of the picture's pixel (8, 9), as the browser names it in the shown picture.
    x, y = 8.5 * factor - 0.5, 9.5 * factor - 0.5
    clicked = session.click(x, y, ON_TARGET).click(0, 0, BESIDE_TARGET)
    clicked = clicked.click(x, y, BOX_CORNER).click(0, 0, BOX_CORNER)
    assert clicked.points[0] == pytest.approx((8.5, 9.5, 1))
    assert clicked.points[1][2] == 0
    assert clicked.box == pytest.approx((0.5 / factor, 0.5 / factor, 8.5, 9.5))
    assert clicked.click(0, 0, BOX_CORNER).box is None
    result = clicked.segment(inferencer, 'ship', 0).result
    expected = inferencer(image, 'ship', box=clicked.box, point=clicked.points)[0]
    np.testing.assert_array_equal(result.mask, expected.mask)


def test_turned_copies_are_told(inferencer, image):
    turned = inferencer.with_tta('all')
    session = open_picture(str(image)).segment(turned, 'ship', 0)
    assert ('Averaged over', '8 turned copies') in session.facts()
    assert ('Averaged over', '8 turned copies') not in open_picture(str(image)).segment(inferencer, 'ship', 0).facts()
    refused = open_picture(str(image)).segment(turned, 'the ship left', 0).facts()
    assert [value for name, value in refused if name == 'Note' and value.startswith('not turned by rot90')]


def test_opacity_changes_the_mask_only(inferencer, image):
    session = open_picture(str(image)).segment(inferencer, 'ship', 0)
    plain, faint, strong = (session.picture(opacity).astype(int) for opacity in (0, 0.2, 0.8))
    inside = np.asarray(Image.fromarray(session.result.mask).resize(plain.shape[1::-1]))
    assert (np.abs(strong - plain).sum(2) > np.abs(faint - plain).sum(2))[inside].mean() > 0.7
    far = ~np.asarray(Image.fromarray(inside).resize((40, 30)).resize(plain.shape[1::-1]))
    assert (strong == faint)[far].mean() > 0.9
    np.testing.assert_array_equal(plain, open_picture(str(image)).picture(0.5))


def test_files_hold_the_mask(inferencer, image, tmp_path):
    session = open_picture(str(image)).segment(inferencer, 'ship', 0)
    png, _ = session.save(tmp_path).files
    np.testing.assert_array_equal(np.asarray(Image.open(png)) > 0, session.result.mask)
    collection = _saved(session, tmp_path)
    assert area_of_polygons(collection) == session.result.area > 0
    assert 'crs' not in collection
    assert collection['features'][0]['properties']['expression'] == 'ship'
    emptied = open_picture(str(image)).segment(inferencer, 'ship', 1)
    assert _saved(emptied, tmp_path)['features'] == []
    assert any('is below' in value for _, value in emptied.facts())


def test_fields_that_were_never_shown_say_nothing(inferencer, image):
    empty, unshown = (
        open_picture(str(image)).segment(inferencer, 'ship', 0, min_area=text, simplify=text) for text in (' ', None)
    )
    np.testing.assert_array_equal(empty.result.mask, unshown.result.mask)


def test_polygons_are_valid_for_every_mask(inferencer, image, tmp_path):
    shapely = pytest.importorskip('shapely')
    rng = np.random.default_rng(0)
    session = open_picture(str(image)).segment(inferencer, 'ship', 0)
    corners = np.indices((30, 40)).sum(0) % 2 == 0
    for mask in (corners, *(rng.random((30, 40)) < share for share in (0.3, 0.55, 0.7, 0.85))):
        shown = replace(session, result=replace(session.result, mask=mask))
        polygons = [shapely.geometry.shape(one['geometry']) for one in _saved(shown, tmp_path)['features']]
        assert all(polygon.is_valid for polygon in polygons)
        assert sum(polygon.area for polygon in polygons) == mask.sum()
    # As in scenes, what touches at a corner is two objects.
    touching = replace(session, result=replace(session.result, mask=corners))
    assert len(_saved(touching, tmp_path)['features']) == 600


def test_geotiff_keeps_its_place(inferencer, tmp_path):
    pytest.importorskip('pyogrio')
    rng = np.random.default_rng(0)
    path = tmp_path / 'scene.tif'
    transform = rasterio.transform.from_origin(500_000, 4_000_000, 2.0, 2.0)
    values = rng.integers(0, 4000, (3, 30, 40), dtype=np.uint16)
    options = dict(width=40, height=30, count=3, dtype='uint16', crs='EPSG:32631', transform=transform)
    with rasterio.open(path, 'w', driver='GTiff', **options) as scene:
        scene.write(values)
    session = open_picture(str(path)).segment(inferencer, 'ship', 0)
    assert session.result.size == (30, 40)
    collection = _saved(session, tmp_path)
    assert collection['crs']['properties']['name'] == 'urn:ogc:def:crs:EPSG::32631'
    assert area_of_polygons(collection) == pytest.approx(4 * session.result.area)
    x0, y0, x1, y1 = session.result.box
    corners = np.concatenate([feature['geometry']['coordinates'][0] for feature in collection['features']])
    expected = [500_000 + 2 * x0, 4_000_000 - 2 * y1, 500_000 + 2 * x1, 4_000_000 - 2 * y0]
    assert [*corners.min(0), *corners.max(0)] == expected


def _saved(session, folder):
    return json.loads(Path(session.save(folder).files[1]).read_text())


def _scene(path: Path, size=(100, 150), **options) -> Path:
    values = np.random.default_rng(0).integers(0, 255, (3, *size), dtype=np.uint8)
    place = dict(crs='EPSG:32631', transform=rasterio.transform.from_origin(500_000, 4_000_000, 2.0, 2.0))
    profile = dict(driver='GTiff', width=size[1], height=size[0], count=3, dtype='uint8', **place)
    with rasterio.open(path, 'w', **(profile | options)) as scene:
        scene.write(values)
    return path


def test_a_large_geotiff_goes_window_by_window_as_a_scene_does(inferencer, tmp_path):
    pytest.importorskip('pyogrio')
    from rs2sam2.geo.scene import segment_scene
    from rs2sam2.inference import InferencerWindowPredictor

    path = _scene(tmp_path / 'scene.tif')
    (tmp_path / 'files').mkdir()
    shares = []
    session = open_picture(str(path)).segment(inferencer, 'ship', 0, tmp_path / 'files', shares.append)
    expected = segment_scene(
        path, 'ship', InferencerWindowPredictor(inferencer), mask=tmp_path / 'mask.tif', window=64, progress=False
    )
    with rasterio.open(session.files[0]) as found, rasterio.open(expected.mask) as mask:
        np.testing.assert_array_equal(found.read(1), mask.read(1))
        np.testing.assert_array_equal(session.result.mask, mask.read(1) == 1)
        assert (found.crs, found.transform) == (mask.crs, mask.transform)
    assert shares[-1] == 1
    facts = dict(session.facts())
    assert facts['Windows'].startswith(f'{expected.windows_run} of 64 x 64')
    assert facts['Area'].startswith(f'{expected.foreground_pixels:,} pixels')
    assert facts['Image'] == '150 x 100, EPSG:32631'
    collection = json.loads(Path(session.files[1]).read_text())
    assert area_of_polygons(collection) == pytest.approx(4 * expected.foreground_pixels)
    assert session.picture(0.5).shape == (round(100 * 1024 / 150), 1024, 3)
    with pytest.raises(ConfigError, match='clicks refine what the model sees at once'):
        session.click(10, 10, ON_TARGET).segment(inferencer, 'ship', 0, tmp_path / 'files')


def test_polygons_are_cleaned_as_those_of_scenes_are(inferencer, tmp_path):
    pytest.importorskip('pyogrio')
    mask = np.zeros((30, 40), bool)
    mask[2:12, 2:12] = mask[20:22, 30:33] = True
    mask[12, 2:4] = True
    for path in (_scene(tmp_path / 'a.tif', (30, 40)), make_image(tmp_path / 'a.png')):
        session = open_picture(str(path)).segment(inferencer, 'ship', 0)
        session = replace(session, result=replace(session.result, mask=mask))
        whole, cleaned = session.save(tmp_path), session.save(tmp_path, '10', '2')
        assert not [note for _, note in whole.facts() if 'left out' in note]
        (feature,) = json.loads(Path(cleaned.files[1]).read_text())['features']
        assert len(feature['geometry']['coordinates'][0]) < 7
        assert [note for _, note in cleaned.facts() if note.startswith('1 polygons below the smallest area')]
        assert (np.asarray(Image.open(cleaned.files[0])) > 0).sum() == mask.sum()
    with pytest.raises(ConfigError, match='no known ground resolution'):
        session.save(tmp_path, '50m2')
    with pytest.raises(ConfigError, match="simplify is 'much'"):
        session.segment(inferencer, 'ship', 0, tmp_path, simplify='much')


def test_a_large_geotiff_has_clean_polygons_too(inferencer, tmp_path):
    pytest.importorskip('pyogrio')
    session = open_picture(str(_scene(tmp_path / 'scene.tif')))
    files = [tmp_path / name for name in ('plain', 'clean')]
    for folder in files:
        folder.mkdir()
    plain = session.segment(inferencer, 'ship', 0, files[0])
    clean = session.segment(inferencer, 'ship', 0, files[1], min_area=' 40m2 ')
    count = [len(json.loads(Path(one.files[1]).read_text())['features']) for one in (plain, clean)]
    assert count[0] > count[1]
    assert any(note.startswith(f'{count[0] - count[1]:,} polygons below') for _, note in clean.facts())


def test_what_the_reader_notes_is_shown(inferencer, tmp_path):
    pytest.importorskip('pyogrio')
    session = open_picture(str(_scene(tmp_path / 'a.tif', (30, 40), crs=None)))
    facts = session.segment(inferencer, 'ship', 0).facts()
    assert ('Note', 'a.tif has coordinates, as of a world file, but no CRS: outputs keep the coordinates, areas are in '
            'pixels') in facts  # fmt: skip
    pages = [Image.fromarray(np.full((30, 40, 3), 40 * number, np.uint8)) for number in (1, 2)]
    pages[0].save(tmp_path / 'b.tif', save_all=True, append_images=pages[1:])
    assert any(
        'b.tif has 2 pages and the first is read' in note for note in open_picture(str(tmp_path / 'b.tif')).image.notes
    )


@pytest.mark.parametrize('suffix', ['.tif', '.png', '.jpg'])
def test_an_upload_shows_no_other_file(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    path.write_text(
        '<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1" '
        'subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="0">/etc/passwd</SourceFilename></VRTRasterBand>'
        '</VRTDataset>'
    )
    with pytest.raises(DataError, match=f'^a{suffix} ') as error:
        open_picture(str(path))
    assert str(tmp_path) not in str(error.value)


@pytest.fixture
def handlers(inferencer, tmp_path):
    """The page's own functions, without a browser."""
    pytest.importorskip('gradio')
    from rs2sam2.page.app import Page

    return Page(inferencer, tmp_path)


def test_an_error_keeps_the_picture_and_clears_the_rest(handlers, image, tmp_path):
    session, picture, text, *downloads = handlers.open(Session(), str(image), 0.5)
    assert picture is not None
    assert 'Say what to segment' in text
    session, _, text, *downloads = handlers.segment(session, 'ship', 0, False, 0.5)
    assert 'Score' in text
    assert all(Path(update['value']).is_file() for update in downloads)
    after, shown, text, *downloads = handlers.segment(session, ' ', 0, False, 0.5)
    np.testing.assert_array_equal(shown, picture)
    assert 'class="error"' in text
    assert 'sample' not in text
    assert 'Score' not in text
    assert [(update['value'], update['interactive']) for update in downloads] == [(None, False)] * 2
    assert after.image is session.image
    (tmp_path / 'bad.png').write_text('no image')
    after, shown, text, *downloads = handlers.open(session, str(tmp_path / 'bad.png'), 0.5)
    np.testing.assert_array_equal(shown, picture)
    assert 'bad.png' in text
    assert str(tmp_path) not in text
    assert handlers.segment(Session(), 'ship', 0, False, 0.5)[1] is None
    assert "min_area is 'x'" in html.unescape(handlers.segment(session, 'ship', 0, False, 0.5, 'x')[2])


def test_the_hint_says_what_is_next_and_drawing_empties_the_upload_box(handlers):
    *shown, words, upload = handlers.draw(0.5)
    assert upload is None
    assert words
    assert 'press Enter' in shown[2]
    assert 'the clicks are not in the mask yet' in handlers._shown(shown[0].click(5, 5, ON_TARGET), 0.5)[2]
    assert 'Open an image' in handlers.close(0.5)[2]


def test_files_of_old_results_go(handlers, image, tmp_path):
    from rs2sam2.page.app import KEPT

    session = handlers.open(Session(), str(image), 0.5)[0]
    for _ in range(KEPT + 3):
        handlers.segment(session, 'ship', 0, False, 0.5)
    assert len(list(tmp_path.iterdir())) == KEPT


def test_a_file_that_is_no_image_is_refused(tmp_path):
    for name in ('a.png', 'a.tif'):
        (tmp_path / name).write_text('no image')
        with pytest.raises(DataError) as error:
            open_picture(str(tmp_path / name))
        assert '\n' not in str(error.value)


def start_page(work_dir: Path, environment: dict) -> tuple[subprocess.Popen, int]:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'rs2sam2.cli.main', 'demo', '-m', str(work_dir), '--port', str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    lines = []
    while not lines or 'The page is at' not in lines[-1]:
        lines.append(server.stdout.readline())
        assert lines[-1], ''.join(lines)
    return server, port


@pytest.fixture(scope='module')
def page(work_dir):
    """The page, served and open in headless Chromium; with the requests that it made."""
    pytest.importorskip('gradio')
    playwright = pytest.importorskip('playwright.sync_api')
    if not os.path.exists(CHROMIUM):
        pytest.skip(f'no browser at {CHROMIUM}')
    server, port = start_page(work_dir, os.environ | {'OMP_NUM_THREADS': '1'})
    try:
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={'width': 1280, 'height': 1000})
            page.set_default_timeout(60_000)
            page.asked = []
            page.on('request', lambda request: page.asked.append(request.url))
            page.url_of_server = f'http://127.0.0.1:{port}/'
            page.goto(page.url_of_server)
            page.get_by_role('button', name='Segment').wait_for()
            yield page
            browser.close()
    finally:
        server.terminate()
        server.wait()


def download(page, name: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.locator(f'#{name}').click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def segment(page, expression: str) -> None:
    """Fill in, press, and wait for the new picture."""
    before = page.locator('#picture img').get_attribute('src')
    page.get_by_label('Expression').fill(expression)
    page.get_by_role('button', name='Segment').click()
    page.wait_for_function("old => document.querySelector('#picture img')?.src !== old", arg=before)
    page.locator('#facts dl').wait_for()


@pytest.mark.slow
def test_upload_type_segment_click_download_in_a_browser(page, inferencer, image, tmp_path):
    page.locator('#upload input[type=file]').set_input_files(str(image))
    page.locator('#picture img').wait_for()
    segment(page, 'ship')
    expected = inferencer(image, 'ship')[0]
    assert f'{expected.area:,} pixels' in page.locator('#facts').inner_text()
    png = download(page, 'png', tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(png)) > 0, expected.mask)
    assert area_of_polygons(json.loads(download(page, 'geojson', tmp_path).read_text())) == expected.area

    page.get_by_label('Average over turned copies').check()
    segment(page, 'ship on the left')
    turned = inferencer.with_tta('all')(image, 'ship on the left')[0]
    assert f'{turned.area:,} pixels' in page.locator('#facts').inner_text()
    assert f'{len(turned.averaged_over)} turned copies' in page.locator('#facts').inner_text()
    assert turned.area != inferencer(image, 'ship on the left')[0].area
    page.get_by_label('Average over turned copies').uncheck()

    # A click in the middle of the shown picture is one in the middle of the image.
    shown = page.locator('#picture img')
    before = shown.get_attribute('src')
    box = shown.bounding_box()
    shown.click(position={'x': box['width'] / 2, 'y': box['height'] / 2})
    page.wait_for_function("old => document.querySelector('#picture img').src !== old", arg=before)
    segment(page, 'ship')
    refined = np.asarray(Image.open(download(page, 'png', tmp_path))) > 0
    assert (refined != inferencer(image, 'ship', point=(20, 15))[0].mask).mean() < 0.02
    assert (refined != expected.mask).any()

    # Enter submits; an error keeps the picture and takes the old scores and downloads away.
    before = page.locator('#picture img').get_attribute('src')
    page.get_by_label('Expression').fill(' ')
    page.get_by_label('Expression').press('Enter')
    page.get_by_text('is empty: write what is meant').wait_for()
    assert page.locator('#picture img').is_visible()
    assert page.locator('#facts dl').count() == 0
    assert page.locator('#png').is_disabled()
    page.get_by_label('Expression').fill('ship')
    page.get_by_label('Expression').press('Enter')
    page.locator('#facts dl').wait_for()

    page.get_by_role('button', name='Draw a scene').click()
    page.wait_for_function("document.querySelector('#expression textarea').value.trim().length > 5")
    page.locator('#upload input[type=file]').wait_for(state='attached')
    page.get_by_text('press Enter').wait_for()
    assert all(url.startswith((page.url_of_server, 'data:', 'blob:')) for url in page.asked)


@pytest.mark.slow
def test_the_server_answers_its_own_names_and_pages_only(page):
    port = int(page.url_of_server.rsplit(':', 1)[1].strip('/'))

    def ask(method='GET', path='/', **headers):
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=30)
        connection.request(method, path, headers={name.replace('_', '-'): value for name, value in headers.items()})
        answer = connection.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())

    assert ask()[0] == ask(Host=f'localhost:{port}')[0] == 200
    for path in ('/', '/config', '/gradio_api/queue/data?session_hash=x', '/gradio_api/upload'):
        for method in ('GET', 'POST', 'OPTIONS'):
            wanted = dict(Access_Control_Request_Method='POST')
            for headers in (dict(Host='evil.example'), dict(Origin='http://evil.example'), dict(Origin='null')):
                status, answered = ask(method, path, **headers, **wanted)
                assert status == 403
                assert not any(name.lower().startswith('access-control') for name in answered)


@pytest.mark.slow
@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_uploads_are_gone_when_the_page_is(work_dir, tmp_path, how):
    """What kill -9 leaves is removed by the next page."""
    pytest.importorskip('gradio')
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'TMPDIR': str(tmp_path)}
    for number in (how, signal.SIGTERM):
        server, _ = start_page(work_dir, environment)
        (folder,) = tmp_path.glob('rs2sam2-page-*')
        (folder / 'files/upload.png').write_bytes(b'private')
        server.send_signal(number)
        output = server.communicate(timeout=30)[0]
        assert 'Traceback' not in output
        assert bool(list(tmp_path.glob('rs2sam2-page-*'))) == (number == signal.SIGKILL)
