"""Take the picture of the page that docs/inference.md shows.

python tools/misc/screenshot_page.py WORK_DIR IMAGE EXPRESSION [--out docs/images/page.png]

Needs the extra [demo], playwright, and Debian's chromium.
"""

import io
import subprocess
import sys
import time

from PIL import Image

from rs2sam2.engine.arguments import make_parser

PORT = 7869
FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking']


def main() -> None:
    """Serve the page, segment, and take the picture."""
    parser = make_parser(__doc__)
    parser.add_argument('model', help='work dir')
    parser.add_argument('image', help='image file')
    parser.add_argument('expression', help='what to segment')
    parser.add_argument('--out', default='docs/images/page.png', help='PNG file')
    args = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        sys.exit('error: playwright is missing: pip install playwright')
    command = [sys.executable, '-m', 'rs2sam2.cli.main', 'demo', '-m', args.model, '--port', str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            while 'The page is at' not in (line := server.stdout.readline()):
                if not line:
                    sys.exit('the page did not start')
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path='/usr/bin/chromium', args=FLAGS)
                page = browser.new_page(viewport={'width': 1280, 'height': 900})
                page.goto(f'http://127.0.0.1:{PORT}')
                page.locator('#upload input[type=file]').set_input_files(args.image)
                page.locator('#picture img').wait_for()
                page.get_by_label('Expression').fill(args.expression)
                page.get_by_role('button', name='Segment').click()
                page.locator('#facts dl').wait_for(timeout=300_000)
                time.sleep(1)  # until the picture and the button's colour have settled
                shot = Image.open(io.BytesIO(page.screenshot())).convert('RGB')
                # 256 colours: a third of the size, and no eye sees it.
                shot.quantize(256).save(args.out, optimize=True)
                browser.close()
        finally:
            server.terminate()


if __name__ == '__main__':
    main()
