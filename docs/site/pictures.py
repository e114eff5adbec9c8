"""Shrink the pictures that the notebooks keep to 256 colours: a third of the bytes, and no eye sees it.

python docs/site/pictures.py        (make notebooks does it after a run)
"""

import base64
import io
import json
from pathlib import Path

from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parents[1] / 'notebooks'
SMALL = 20_000
"""Fewer characters than this are left as they are."""


def shrink(picture: str) -> str:
    """A PNG in base64 with 256 colours, where that is less."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == 'P' or len(picture) < SMALL:
        return picture
    white = Image.new('RGBA', image.size, 'white')
    file = io.BytesIO()
    Image.alpha_composite(white, image.convert('RGBA')).convert('RGB').quantize(256).save(file, 'PNG', optimize=True)
    return min(picture, base64.b64encode(file.getvalue()).decode(), key=len)


def main() -> None:
    """Entry point."""
    for path in sorted(NOTEBOOKS.glob('*.ipynb')):
        before = path.read_text('utf-8')
        notebook = json.loads(before)
        for output in (output for cell in notebook['cells'] for output in cell.get('outputs', ())):
            if found := output.get('data', {}).get('image/png'):
                output['data']['image/png'] = shrink(''.join(found))
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + '\n'
        if text != before:
            path.write_text(text, 'utf-8')
            print(f'{path.name}: {len(before):,} to {len(text):,} characters')


if __name__ == '__main__':
    main()
