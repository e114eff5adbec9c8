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
        rows = [(official, ours) for official, ours in rows]
        self._of_official = [(_pattern(official), ours) for official, ours in rows]
        self._of_ours = [(_pattern(ours), official) for official, ours in rows]

    def to_ours(self, name: str) -> str | None:
        """Our name of an official one; None where no row matches."""
        return _translate(name, self._of_official)

    def to_official(self, name: str) -> str | None:
        """The official name of one of ours; None where no row matches."""
        return _translate(name, self._of_ours)


def _translate(name: str, rows: Iterable[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rows:
        if match := pattern.fullmatch(name):
            found = match.groupdict()
            if 'way' in found:
                found['way'] = WAYS[found['way']]
            return template.format(**found)
    return None
