"""The console script `rs2sam2`.

It stands beside the package and not in it: importing `rs2sam2` registers its components, which takes seconds, and
`--help` and `--version` are to answer at once. So the command's words are read from their file.
"""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

WORDS = Path(__file__).with_name('rs2sam2') / 'cli/main.py'


def main() -> None:
    """Run the command."""
    spec = spec_from_file_location('rs2sam2_words', WORDS)
    words = module_from_spec(spec)
    spec.loader.exec_module(words)
    words.main()
