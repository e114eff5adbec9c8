"""The page: what a visitor's session computes, and the page itself in a real browser."""

import json
import os
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
from rs2sam2.errors import DataError

rasterio = pytest.importorskip('rasterio')

from rs2sam2.page.session import BESIDE_TARGET, BOX_CORNER, ON_TARGET, VIEW_SIDE, open_picture  # noqa: E402

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
    png, geojson = session.save(tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(png)) > 0, session.result.mask)
    collection = json.loads(Path(geojson).read_text())
    assert area_of_polygons(collection) == session.result.area > 0
    assert 'crs' not in collection
    assert collection['features'][0]['properties']['expression'] == 'ship'
    emptied = open_picture(str(image)).segment(inferencer, 'ship', 1)
    assert emptied.polygons()['features'] == []
    assert any('is below' in value for _, value in emptied.facts())


def test_polygons_are_valid_for_every_mask(inferencer, image):
    shapely = pytest.importorskip('shapely')
    rng = np.random.default_rng(0)
    session = open_picture(str(image)).segment(inferencer, 'ship', 0)
    corners = np.indices((30, 40)).sum(0) % 2 == 0
    for mask in (corners, *(rng.random((30, 40)) < share for share in (0.3, 0.55, 0.7, 0.85))):
        shown = replace(session, result=replace(session.result, mask=mask))
        polygons = [shapely.geometry.shape(one['geometry']) for one in shown.polygons()['features']]
        assert all(polygon.is_valid for polygon in polygons)
        assert sum(polygon.area for polygon in polygons) == mask.sum()
    # As in scenes, what touches at a corner is two objects.
    assert len(replace(session, result=replace(session.result, mask=corners)).polygons()['features']) == 600


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
    collection = session.polygons()
    assert collection['crs']['properties']['name'] == 'urn:ogc:def:crs:EPSG::32631'
    assert area_of_polygons(collection) == pytest.approx(4 * session.result.area)
    x0, y0, x1, y1 = session.result.box
    corners = np.concatenate([feature['geometry']['coordinates'][0] for feature in collection['features']])
    expected = [500_000 + 2 * x0, 4_000_000 - 2 * y1, 500_000 + 2 * x1, 4_000_000 - 2 * y0]
    assert [*corners.min(0), *corners.max(0)] == expected


def test_a_file_that_is_no_image_is_refused(tmp_path):
    for name in ('a.png', 'a.tif'):
        (tmp_path / name).write_text('no image')
        with pytest.raises(DataError) as error:
            open_picture(str(tmp_path / name))
        assert '\n' not in str(error.value)


@pytest.fixture(scope='module')
def page(work_dir):
    """The page, served and open in headless Chromium; with the requests that it made."""
    pytest.importorskip('gradio')
    playwright = pytest.importorskip('playwright.sync_api')
    if not os.path.exists(CHROMIUM):
        pytest.skip(f'no browser at {CHROMIUM}')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'rs2sam2.cli.main', 'demo', '-m', str(work_dir), '--port', str(port)]
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        lines = []
        while not lines or 'The page is at' not in lines[-1]:
            lines.append(server.stdout.readline())
            assert lines[-1], ''.join(lines)
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

    page.get_by_label('Expression').fill(' ')
    page.get_by_role('button', name='Segment').click()
    page.get_by_text('is empty: write what is meant').wait_for()

    page.get_by_role('button', name='Draw a scene').click()
    page.wait_for_function("document.querySelector('textarea').value.trim().length > 3")
    assert all(url.startswith((page.url_of_server, 'data:', 'blob:')) for url in page.asked)
