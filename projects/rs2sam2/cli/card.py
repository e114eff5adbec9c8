"""The model card of a bundle, in the hub's form: data, protocol, scores with intervals, licence, how to load it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rs2sam2.errors import ConfigError
from rs2sam2.evaluation.results import METRICS, bootstrap_interval, read_results, summarise

RESULTS = 'results.jsonl'
# Folders of controls: what is left when expressions or images are shuffled says something of the data, not of a model.
CONTROL = 'shuffled'
TASK = 'image-segmentation'


class Score(NamedTuple):
    """The scores of one results file.

    Attributes:
        name: folder of the file, below the work dir.
        protocol: at which size pixels were counted.
        sentences: how many.
        values: metric -> (percent, lower and upper end of the 95 % interval).
    """

    name: str
    protocol: str
    sentences: int
    values: dict[str, tuple[float, float, float]]

    @property
    def is_control(self) -> bool:
        """Whether it is a control."""
        return CONTROL in self.name

    def plain(self) -> dict[str, Any]:
        """For a bundle's `about`."""
        values = {name: [round(number, 2) for number in numbers] for name, numbers in self.values.items()}
        return dict(name=self.name, protocol=self.protocol, sentences=self.sentences, values=values)


def read_scores(work_dir: Path, files: Sequence[Path] | None = None) -> list[Score]:
    """Scores with bootstrap intervals from the result files of `tools/test.py`.

    Args:
        work_dir: where they lie, in folders of their own.
        files: those to take; None takes all that are there.

    Raises:
        ConfigError: a file that was named is missing.
        DataError: a file is damaged.
    """
    if files and (missing := [file for file in files if not file.is_file()]):
        raise ConfigError(f'--results {missing[0]}: there is no such file')
    scores = []
    for file in files or sorted(work_dir.rglob(RESULTS)):
        rows = read_results(file)
        name = file.parent.relative_to(work_dir).as_posix() if file.is_relative_to(work_dir) else file.parent.name
        means = summarise(rows)
        values = {metric: (means[metric], *bootstrap_interval(rows, metric)) for metric in METRICS}
        protocols = ', '.join(sorted({row.protocol for row in rows}))
        scores.append(Score('test' if name == '.' else name, protocols, len(rows), values))
    return sorted(scores, key=lambda score: score.is_control)


def model_card(about: dict[str, Any], scores: Sequence[Score], repo: str | None = None) -> str:
    """Write the card.

    Args:
        about: of the bundle.
        scores: of the result files.
        repo: user/repo where it is uploaded to.
    """
    name, model = about['name'], f'hf:{repo.removeprefix("hf:")}' if repo else about['name']
    lines = ['---', _front_matter(about, scores), '---', '', f'# {name}', '']
    lines += [
        'Referring remote-sensing image segmentation: an image and a sentence in, the mask of what the sentence means '
        'out. Made with [rs2sam2](https://arxiv.org/abs/2503.07266), as a bundle that runs no code.',
        '',
        '## Use it',
        '',
        '```bash',
        f'rs2sam2 segment photo.jpg -e "the small gray airplane on the left" --model {model} --out found',
        '```',
        '',
        '```python',
        'from rs2sam2 import RefSegInferencer',
        '',
        f"result = RefSegInferencer('{model}')('photo.jpg', 'the small gray airplane on the left')[0]",
        '```',
        '',
        '## Data and training',
        '',
        f'Trained on {about["trained_on"]}. Weights: `{about["weights"]}` of the config `{about["config"]}`, stored in '
        f'{about["dtype"]}.',
        '',
    ]
    if about['training']:
        lines += ['| | |', '|---|---|', *(f'| {key} | {value} |' for key, value in about['training'].items()), '']
    lines += ['## Scores', '', *_score_table(scores), '']
    lines += ['## Licence', '', f'{about["licence"]}, as stated by who published it.', '']
    return '\n'.join(lines)


def _score_table(scores: Sequence[Score]) -> list[str]:
    if not scores:
        return ['None was handed over with this model.']
    lines = [f'| test | sentences | protocol | {" | ".join(METRICS)} |', f'|---|---|---|{"---|" * len(METRICS)}']
    for score in scores:
        cells = [f'{value:.2f} ({low:.1f} - {high:.1f})' for value, low, high in score.values.values()]
        lines.append(f'| {score.name} | {score.sentences:,} | {score.protocol} | {" | ".join(cells)} |')
    controls = ' Rows of shuffled expressions or images are controls.' if any(s.is_control for s in scores) else ''
    return [
        *lines,
        '',
        'Percent, with 95 % bootstrap intervals over images (1,000 resamples), computed from the result files of '
        f'`tools/test.py`. oIoU: all intersections over all unions; mIoU: mean over sentences.{controls}',
    ]


def _front_matter(about: dict[str, Any], scores: Sequence[Score]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK,
            dataset_type='custom',
            dataset_name=f'{about["trained_on"]}, {score.name} ({score.protocol})',
            metric_type=metric,
            metric_value=round(score.values[metric][0], 2),
        )
        for score in scores
        if not score.is_control
        for metric in METRICS
    ]
    data = ModelCardData(
        license=about['licence'],
        library_name='rs2sam2',
        pipeline_tag=TASK,
        language='en',
        tags=['referring-image-segmentation', 'remote-sensing'],
        model_name=about['name'],
        eval_results=results or None,
    )
    return data.to_yaml().strip()
