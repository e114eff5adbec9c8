"""A table of parameter names in both directions.

A row is a pair of templates, (official, ours). `{n}` and `{m}` stand for numbers, `{p}` for `weight` or `bias`,
`{qkvo}` for one of the four projections of an attention, `{head}` for a name with `head` in it, `{rest}` for anything,
`{way}` for a side of BEiT-3's multiway layers: `A` there, `vision` here; `B` there, `text` here.
"""

import re
from collections.abc import Iterable, Sequence

PLACEHOLDERS = {
    'n': r'\d+',
    'm': r'\d+',
    'p': 'weight|bias',
    'qkvo': 'q|k|v|out',
    'head': r'\w*head\w*',
    'rest': '.+',
    'way': 'A|B|vision|text',
}
WAYS = {'A': 'vision', 'B': 'text', 'vision': 'A', 'text': 'B'}


def _pattern(template: str) -> re.Pattern:
    parts = re.split(r'\{(\w+)\}', template)
    text = ''.join(f'(?P<{part}>{PLACEHOLDERS[part]})' if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re.compile(text)


class NameTable:
    """Translate names by the first row that matches whole.

    Args:
        rows: pairs of templates (official, ours).
    """

    def __init__(self, rows: Iterable[Sequence[str]]) -> None:
        self.rows = [(official, ours, _pattern(official), _pattern(ours)) for official, ours in rows]

    def to_ours(self, name: str) -> str | None:
        """Our name of an official one; None where no row matches."""
        return self._translate(name, 2, 1)

    def to_official(self, name: str) -> str | None:
        """The official name of one of ours; None where no row matches."""
        return self._translate(name, 3, 0)

    def _translate(self, name: str, pattern: int, template: int) -> str | None:
        for row in self.rows:
            if match := row[pattern].fullmatch(name):
                found = match.groupdict()
                if 'way' in found:
                    found['way'] = WAYS[found['way']]
                return row[template].format(**found)
        return None
