"""The metric of referring remote-sensing image segmentation: Pr@0.5 ... 0.9, oIoU, mIoU."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor
from torch.nn import functional as F

from rs2sam2.datasets.masks import encode_mask
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.nearest import resize_nearest
from rs2sam2.evaluation.results import METRICS, SampleResult, check_unique, iou, summarise, write_results
from rs2sam2.evaluation.tables import BREAKDOWNS, breakdown_table, metric_table

PROTOCOLS: dict[str, int | str] = {
    'rs2sam2': 'published_1024',
    'published_1024': 'published_1024',
    'rmsin': 480,
    'lavt': 480,
    'native': 'native',
}
"""Protocols, named after whose published numbers they reproduce, and what each is. All score every sentence, count Pr@t
with IoU >= t and resize the ground truth by NEAREST: RS2-SAM2 (arXiv 2503.07266) at 1024 x 1024, RMSIN (2312.12470) and
LAVT (2112.02244) at 480 x 480."""


def parse_protocol(protocol: str | int) -> tuple[str, int | None]:
    """Name of a protocol in results, and the side at which it counts pixels (None: the ground truth's own size).

    Args:
        protocol: one of `PROTOCOLS`, or a side in pixels.

    Raises:
        ConfigError: there is no such protocol.
    """
    known = PROTOCOLS.get(protocol, protocol) if isinstance(protocol, str) else protocol
    if known == 'published_1024':
        return 'published_1024', 1024
    if known == 'native':
        return 'native', None
    if isinstance(known, int) and not isinstance(known, bool) and known > 0:
        return f'{known}x{known}', known
    raise ConfigError(f'RRSISMetric: protocol={protocol!r}; use {", ".join(PROTOCOLS)}, or a side in pixels')


def predicted_mask(sample: dict, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Foreground of a prediction at a given size.

    Args:
        sample: `seg_logits` (1, h, w) log-odds, or (2, h, w) logits of background and foreground; without them
            `pred_sem_seg` (1, h, w) with 0 for background. Each as a dict with `data`.
        size: (H, W).

    Returns:
        (H, W) bool; and a bool scalar, True where a logit is not a number.

    Raises:
        DataError: there is no prediction, or one with another number of channels.
    """
    if 'seg_logits' in sample:
        logits = sample['seg_logits']['data']
        if logits.shape[0] not in (1, 2):
            raise DataError(
                f'sample {sample.get("sample_id")!r}: `seg_logits` has {logits.shape[0]} channels; '
                'a referring model gives 1 (log-odds of foreground) or 2 (background, foreground)'
            )
        logits = F.interpolate(logits[None].float(), size=size, mode='bilinear', align_corners=False)[0]
        mask = logits[0] > 0 if len(logits) == 1 else logits[1] > logits[0]
        return mask, ~logits.isfinite().all()
    if 'pred_sem_seg' in sample:
        mask = resize_nearest(sample['pred_sem_seg']['data'][0], size) > 0
        return mask, mask.new_zeros(())
    raise DataError(f'sample {sample.get("sample_id")!r}: neither `seg_logits` nor `pred_sem_seg` was predicted')


class RRSISMetric(BaseMetric):
    """Pr@0.5 ... Pr@0.9, oIoU and mIoU, one sample a sentence (the specification's section 7).

    The prediction is its logits, bilinearly resized (`align_corners=False`) to the size of the protocol, foreground
    where the log-odds exceed 0; the ground truth is resized as PIL's NEAREST does. IoU is I / U, and 0 where U = 0;
    an empty ground truth is a sample like any other. Pixels are counted on the device of the tensors, in integers.

    mmseg's `postprocess_result` puts probabilities in `seg_logits` of a model with one output channel: give such a
    model two.

    Args:
        protocol: one of `PROTOCOLS`: `published_1024` or `rs2sam2` (both at 1024 x 1024), `rmsin` or `lavt` (both at
            480 x 480), `native` (at the size of the ground truth); or the side of a square in pixels.
        published: `dict(name=..., values={'oIoU': ..., ...})`, percent: a row beside ours in the table;
            `protocol` where it was counted by another one than `published_1024`.
        breakdown: further tables, of `category`, `size`, `position_words`, `sentence_length`.
        results_file: JSON-lines file for the results of single samples and their masks, written by the main process.
        collect_device: how processes hand their results over. With `gpu`, mmengine gathers them over the process group
            (NCCL, or gloo without any GPU); its `cpu` goes through files in the working folder, which machines must
            share.
        prefix: of the metrics' names.
        collect_dir: folder for `collect_device='cpu'`.

    Raises:
        ConfigError: an unknown protocol, breakdown or published metric.
    """

    default_prefix = 'rrsis'

    def __init__(
        self,
        protocol: str | int = 'published_1024',
        published: dict | None = None,
        breakdown: Sequence[str] = (),
        results_file: str | None = None,
        collect_device: str = 'gpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.protocol, self.side = parse_protocol(protocol)
        self.published = _check_published(published)
        self.published_protocol = parse_protocol((published or {}).get('protocol', 'published_1024'))
        for name in breakdown:
            if name not in BREAKDOWNS:
                raise ConfigError(f'RRSISMetric: no breakdown {name!r}; there are {", ".join(BREAKDOWNS)}')
        self.breakdown = tuple(breakdown)
        self.results_file = results_file
        self._size: int | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of one batch.

        Args:
            data_batch: not used.
            data_samples: `RefSegDataSample`s as dicts: `gt_sem_seg` (1, h, w) of 0 and 1, `seg_logits` or
                `pred_sem_seg` (see `predicted_mask`), `sample_id`, `expression`; optional `img_path`, `category`,
                `pred_iou`, `presence`.

        Raises:
            DataError: a sample without target, id, ground truth or prediction, or with values that mean nothing.
        """
        counts, masks = [], []
        for sample in data_samples:
            _check_sample(sample)
            self.check_target(sample)
            truth = sample['gt_sem_seg']['data'][0]
            size = (self.side, self.side) if self.side else tuple(truth.shape)
            mask, nan = self.predicted_mask(sample, size)
            truth = truth.to(mask.device)
            target = resize_nearest(truth, size) > 0
            # Masks go to the file alone: a validation while training has none.
            masks.append((_encoded(mask), _encoded(target)) if self.results_file else (None, None))
            counts.append(
                torch.stack(
                    [
                        (mask & target).sum(),
                        (mask | target).sum(),
                        (truth > 0).sum(),
                        (truth > 1).any().long(),
                        nan,
                        ~mask.any(),
                    ]
                )
            )
        # One transfer a batch.
        for sample, rles, values in zip(data_samples, masks, torch.stack(counts).tolist(), strict=True):
            self.results.append(self._result(sample, *rles, *values))

    def check_target(self, sample: dict) -> None:
        """Refuse a sample that means nothing in its image.

        Raises:
            DataError: It is marked `no_target`.
        """
        if sample.get('no_target'):
            raise DataError(
                f'sample {sample["sample_id"]!r} is marked `no_target`, which RRSISMetric does not score; '
                'leave such samples out or use GeneralizedRRSISMetric'
            )

    def predicted_mask(self, sample: dict, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The prediction that is scored; see the function `predicted_mask`."""
        return predicted_mask(sample, size)

    def _result(
        self,
        sample: dict,
        mask: dict | None,
        target: dict | None,
        intersection: int,
        union: int,
        area: int,
        other: int,
        nan: int,
        empty: int,
    ) -> SampleResult:
        if other:
            raise DataError(f'sample {sample["sample_id"]!r}: its ground truth holds values other than 0 and 1')
        if nan:
            raise DataError(f'sample {sample["sample_id"]!r}: the predicted logits are not numbers (NaN or infinity)')
        scores = {key: None if sample.get(key) is None else float(sample[key]) for key in ('pred_iou', 'presence')}
        return SampleResult(
            sample_id=sample['sample_id'],
            img_path=sample.get('img_path'),
            expression=sample['expression'],
            category=sample.get('category'),
            no_target=bool(sample.get('no_target')),
            protocol=self.protocol,
            intersection=intersection,
            union=union,
            iou=iou(intersection, union),
            target_share=area / sample['gt_sem_seg']['data'].numel(),
            empty_prediction=bool(empty),
            precision=sample.get('precision'),
            averaged_over=' '.join(sample.get('averaged_over', ())) or None,
            mask=mask,
            target=target,
            **scores,
        )

    def evaluate(self, size: int) -> dict:
        """Gather the results of all processes and compute the metrics of the `size` samples of the data set."""
        self._size = size
        return super().evaluate(size)

    def compute_metrics(self, results: list[SampleResult]) -> dict[str, float]:
        """Metrics in percent; prints the tables and writes the results file. Runs in the main process.

        Returns:
            `Pr@0.5` ... `Pr@0.9`, `oIoU`, `mIoU`, and `mIoU+oIoU`, by which the best checkpoint is chosen.

        Raises:
            DataError: a sample is missing or came twice.
        """
        self.check_complete(results)
        metrics = summarise(results)
        print_log('\n\n' + '\n\n'.join(self.tables(results)) + '\n', logger='current')
        self.write_results(results)
        return {**metrics, 'mIoU+oIoU': metrics['mIoU'] + metrics['oIoU']}

    def tables(self, results: list[SampleResult]) -> list[str]:
        """The main table, with the published row, and the breakdowns."""
        tables = [metric_table(results, self.title(results), self.published)]
        tables += [breakdown_table(results, by) for by in self.breakdown]
        protocol, side = self.published_protocol
        if self.published and self.protocol != protocol:
            at = f'at {side} x {side} pixels' if side else "at the ground truth's own size"
            tables[0] += f'\n\nThe published numbers were counted {at}: another protocol than this.'
        return tables

    def check_complete(self, results: list[SampleResult]) -> None:
        """Check that every sample came once.

        Raises:
            DataError: a sample is missing or came twice.
        """
        name = type(self).__name__
        if self._size is not None and len(results) != self._size:
            raise DataError(
                f'{name}: {len(results)} results for {self._size} samples; '
                'the test data loader must give every sample (`drop_last=False`, DefaultSampler)'
            )
        check_unique(results, name)

    def write_results(self, results: list[SampleResult]) -> None:
        """Write the results file, where one is asked for: after the tables, which are not lost should it fail."""
        if self.results_file:
            write_results(results, self.results_file)

    def title(self, results: list[SampleResult]) -> str:
        """Title of the main table; it names the protocol."""
        at = f'{self.side} x {self.side} pixels' if self.side else "the ground truth's own size"
        return f'{self.prefix}: protocol {self.protocol} (at {at}), {len(results)} samples, percent'


def _check_published(published: dict | None) -> tuple[str, dict[str, float]] | None:
    if published is None:
        return None
    if set(published) - {'protocol'} != {'name', 'values'}:
        raise ConfigError(f'RRSISMetric: published has the keys {sorted(published)}; it needs `name` and `values`')
    for key in published['values']:
        if key not in METRICS:
            raise ConfigError(f'RRSISMetric: no published metric {key!r}; there are {", ".join(METRICS)}')
    return published['name'], dict(published['values'])


def _encoded(mask: Tensor) -> dict[str, Any]:
    return encode_mask(mask.cpu().numpy())


def _check_sample(sample: dict) -> None:
    for key in ('sample_id', 'expression', 'gt_sem_seg'):
        if key not in sample:
            raise DataError(
                f'sample {sample.get("sample_id", sample.get("img_path"))!r} has no `{key}`; '
                'pack it with PackRefSegInputs in the test pipeline'
            )
