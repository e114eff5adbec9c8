"""Make the zip of the QGIS plugin: Plugins > Manage and Install Plugins > Install from ZIP.

python tools/misc/make_qgis_plugin.py [--out FILE]
"""

import argparse
import zipfile
from pathlib import Path

from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.files import place_of

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / 'projects/qgis_rs2sam2'
KINDS = ('.py', '.txt', '.svg', '.html')
# Whoever makes it of the same files gets the same bytes.
EPOCH = (1980, 1, 1, 0, 0, 0)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('--out', type=Path, default=Path('qgis_rs2sam2.zip'))
    return parser.parse_args()


def make_zip(out: Path) -> Path:
    """Write the plugin's files, links followed, and the licence, below one folder."""
    files = {path.name: path for path in sorted(PLUGIN.iterdir()) if path.suffix in KINDS}
    files['LICENSE'] = ROOT / 'LICENSE'
    place = place_of(out)
    place.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo(f'{PLUGIN.name}/{name}', EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return place


if __name__ == '__main__':
    with one_line_errors():
        print(make_zip(parse_args().out))
