"""Write docs/benchmark.md and its picture from docs/benchmark.yml, in which every number names its source.

python tools/misc/write_benchmark_page.py [--check]
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.results import METRICS

ROOT = Path(__file__).resolve().parents[2]
DATA, PAGE, PICTURE = (ROOT / 'docs' / name for name in ('benchmark.yml', 'benchmark.md', 'images/benchmark.png'))
HEAD = """\
# The field in one table

Written by `python tools/misc/write_benchmark_page.py` from [benchmark.yml](benchmark.yml); change the numbers there. A
number in brackets is its source, [at the end](#sources). "second-hand" is what someone else printed or ran.

Published numbers are as their papers print them, in percent, and do not compare as they are: pixels are counted at 480,
800 or 1024, some checkpoints were chosen on the test split, some count the first sentence of a ref only. None of them
was run again here: the images of the three sets were not at hand. [evaluation.md](evaluation.md) scores any model's
masks in one way, [baselines.md](baselines.md) has the networks that run here.
"""
METHODS = """\
mIoU on the test splits, as published; a dash where nothing is known here. The last column is what this project measured
itself, with tiny models on the embedded scenes ([below](#measured-by-this-project)); it says nothing about full size.
"""
COSTS = """\
What others print as GFLOPs are multiply-adds: LAVT's 198.8 and RMSIN's 200.3 are what is counted here as 199.0 and
204.1. One sentence of 20 tokens, each model at its own size: RS2-SAM2 and EVF-SAM2 1024 px, LAVT and RMSIN 480,
RemoteSAM 896. Speeds on one card and on another do not compare.
"""


def read_data(path: Path = DATA) -> dict[str, Any]:
    """The data file, with every number's source looked up.

    Raises:
        DataError: a number has no source, or one that is not in the list; or a method is not described.
    """
    data = yaml.safe_load(path.read_text(encoding='utf-8'))
    for where, holder in sourced(data):
        if holder.get('source') not in data['sources']:
            raise DataError(f'{path}: {where} has the source {holder.get("source")!r}, not one of the list `sources`')
    for table in data['published']:
        for row in table['rows']:
            if row['method'] not in data['methods'] or len(row['values']) != len(METRICS):
                raise DataError(f'{path}: {row}: describe the method, and give {len(METRICS)} values')
    for where, holder in measurements(data):
        if missing := {'command', 'date'} - holder.keys():
            raise DataError(f'{path}: {where} was measured here and has no {" and no ".join(sorted(missing))}')
    return data


def sourced(data: dict[str, Any]) -> Iterator[tuple[str, dict]]:
    """Everything that others say: where it stands in the file, and the entry that must name a source."""
    for name, method in data['methods'].items():
        yield from ((f'{name}: {key}', value) for key, value in method.items() if key != 'config')
    for table in data['published']:
        yield from ((f'{table["dataset"]} {table["split"]}: {row["method"]}', row) for row in table['rows'])


def measurements(data: dict[str, Any]) -> Iterator[tuple[str, dict]]:
    """Everything that this project measured: where it stands, and the entry that must name its command."""
    measured = data['measured']
    yield 'costs', measured['costs']
    yield from ((table['title'], table) for table in measured['scores'])


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; columns without a letter in their cells are numbers, at the right."""
    marks = ['---' if any(map(str.isalpha, ''.join(cells))) else '---:' for cells in zip(*rows, strict=True)]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [columns, marks, *rows])


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where none was printed."""
    return '–' if value is None else f'{value:,.{digits}f}'


def first_rows(data: dict[str, Any], dataset: str) -> dict[str, list]:
    """Values of each method on a test split; of several rows the first."""
    (table,) = (one for one in data['published'] if (one['dataset'], one['split']) == (dataset, 'test'))
    return {row['method']: row['values'] for row in reversed(table['rows'])}


class Page:
    """The page's sections; sources are numbered in the order of the file."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.numbers = {key: place for place, key in enumerate(data['sources'], 1)}

    def cite(self, entry: dict) -> str:
        """The source of an entry, as it stands in a table."""
        return f'[{self.numbers[entry["source"]]}]'

    def methods(self) -> str:
        """One row a method, by mIoU on RRSIS-D, then on RefSegRS, then on RISBench."""
        sets = [first_rows(self.data, name) for name in ('RRSIS-D', 'RefSegRS', 'RISBench')]
        (scenes,) = (table for table in self.data['measured']['scores'] if table.get('overview'))
        here = {row['method']: row['cells'][0] for row in scenes['rows'] if 'method' in row}
        scored = {name: [rows.get(name, [None])[-1] for rows in sets] for name in self.data['methods']}
        rows = []
        for name in sorted(scored, key=lambda name: [-(score or 0) for score in scored[name]]):
            method = self.data['methods'][name]
            entries = [method.get(key) for key in ('protocol', 'chosen_on', 'weights')]
            facts = [f'{entry["value"]} {self.cite(entry)}' if entry else '–' for entry in entries]
            licence = method.get('weights', {}).get('licence', '–')
            config = f'`{method["config"]}.py`' if 'config' in method else ''
            rows.append([name, *map(number, scored[name]), *facts, licence, config, here.get(name, '')])
        columns = (
            'method', 'RRSIS-D', 'RefSegRS', 'RISBench', 'counted at, px', 'checkpoint chosen on', 'weights',
            'their licence', 'config here', 'here: tiny, drawn scenes',
        )  # fmt: skip
        return f'## One row a method\n\n{METHODS}\n{markdown(columns, rows)}'

    def scores(self) -> Iterator[str]:
        """All published rows, a table a split."""
        for table in self.data['published']:
            rows = []
            for row in table['rows']:
                second_hand = self.data['sources'][row['source']].get('second_hand')
                source = self.cite(row) + (', second-hand' if second_hand else '')
                rows.append([row['method'], *map(number, row['values']), source])
            yield f'## {table["dataset"]}, {table["split"]}\n\n{markdown(("method", *METRICS, "source"), rows)}'

    def costs(self) -> str:
        """Published and measured costs, side by side."""
        measured, rows = self.data['measured']['costs'], []
        for name, method in self.data['methods'].items():
            theirs, ours = method.get('cost'), measured['rows'].get(name)
            cells = [name, *['–'] * 3, '', *['–'] * 4]
            if theirs:
                cells[1:4] = (
                    number(theirs['parameters'], 1),
                    number(theirs['gflops'], 1),
                    number(theirs['images_per_s']),
                )
                cells[3:5] = f'{cells[3]}, {theirs["card"]}', self.cite(theirs)
            if ours:
                cells[5:7] = number(ours['parameters'], 1), number(ours['operations'] / 2, 1)
                cells[7:] = number(ours['seconds']), number(ours['cpu_seconds'])
            if theirs or ours:
                rows.append(cells)
        columns = (
            'method', 'published: M parameters', 'GFLOPs', 'images/s, card', 'source', 'here: M parameters',
            '10^9 multiply-adds', 's on 2 cores', 'CPU s',
        )  # fmt: skip
        how = f'Measured here, {measured["date"]}: {measured["about"].strip()}'
        command = f'```bash\n{measured["command"].strip()}\n```'
        return f'## Cost\n\n{COSTS}\n{markdown(columns, rows)}\n\n{how}\n\n{command}'

    def measured(self) -> Iterator[str]:
        """What this project measured on data that it has."""
        for table in self.data['measured']['scores']:
            body = markdown(table['columns'], [[row['name'], *row['cells']] for row in table['rows']])
            about = f'{table["about"].strip()} {self.data["measured"]["device"]}, {table["date"]}.'
            command = f'```bash\n{table["command"].strip()}\n```'
            yield '\n\n'.join([f'### {table["title"]}', about, command, body, table['note'].strip()])

    def text(self) -> str:
        """The whole page."""
        alt = 'mIoU on the test split of RRSIS-D against multiply-adds of one sentence'
        listed = [f'{place}. {self.data["sources"][key]["what"]}' for key, place in self.numbers.items()]
        parts = [
            HEAD, f'![{alt}](images/{PICTURE.name})', self.methods(), *self.scores(), self.costs(),
            '## Measured by this project', *self.measured(), '## Sources', '\n'.join(listed),
        ]  # fmt: skip
        return '\n\n'.join(part.strip() for part in parts) + '\n'


def points(data: dict[str, Any]) -> dict[str, tuple[float, float, bool]]:
    """Of each method with a score on RRSIS-D and a cost: 10^9 multiply-adds, mIoU, and whether the cost is ours."""
    scores, ours = first_rows(data, 'RRSIS-D'), data['measured']['costs']['rows']
    found = {}
    for name, method in data['methods'].items():
        if name in scores and ('cost' in method or name in ours):
            cost = method['cost']['gflops'] if 'cost' in method else ours[name]['operations'] / 2
            found[name] = cost, scores[name][-1], 'cost' not in method
    return found


def draw(data: dict[str, Any]) -> Figure:
    """Accuracy against cost."""
    figure = Figure(figsize=(7, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes, shown = figure.add_subplot(), points(data)
    for name, (cost, score, is_ours) in shown.items():
        face = 'white' if is_ours else '#457b9d'
        axes.plot(cost, score, 'o', markersize=7, markerfacecolor=face, markeredgecolor='#457b9d', markeredgewidth=1.5)
        # Names of neighbours give way upwards and downwards.
        near = [y for x, y, _ in shown.values() if abs(math.log(x / cost)) < 0.3 and 0 < abs(y - score) < 0.5]
        shift = 6 * (sum(y < score for y in near) - sum(y > score for y in near))
        axes.annotate(name, (cost, score), (8, shift), textcoords='offset points', va='center', fontsize=9)
    axes.set_xscale('log')
    axes.set_xlim(150, 6000)
    ticks = [200, 500, 1000, 2000, 5000]
    axes.set_xticks(ticks, [f'{tick:,}' for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel('10⁹ multiply-adds of one sentence, as published (hollow: counted here)')
    axes.set_ylabel('mIoU in percent, RRSIS-D test, as published')
    axes.grid(alpha=0.25)
    axes.spines[['top', 'right']].set_visible(False)
    return figure


def main() -> None:
    """Write, or check that nothing would change."""
    parser = make_parser(__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; fail where the page says something else')
    args = parser.parse_args()
    data = read_data()
    text = Page(data).text()
    if args.check:
        if PAGE.read_text(encoding='utf-8') != text:
            raise ConfigError(f'{PAGE} is not what {DATA.name} says: python tools/misc/write_benchmark_page.py')
        return
    PAGE.write_text(text, encoding='utf-8')
    draw(data).savefig(PICTURE, dpi=150)
    print(f'{PAGE}\n{PICTURE}')


if __name__ == '__main__':
    with one_line_errors():
        main()
