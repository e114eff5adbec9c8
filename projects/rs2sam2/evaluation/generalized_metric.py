"""The metric of generalised referring segmentation, for sets with sentences that mean nothing in their image."""

import torch
from mmengine.logging import print_log
from torch import Tensor

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.results import GENERALIZED_METRICS, SampleResult, summarise
from rs2sam2.evaluation.rrsis_metric import RRSISMetric
from rs2sam2.evaluation.tables import metric_table


class GeneralizedRRSISMetric(RRSISMetric):
    """gIoU, cIoU, N-acc and T-acc (GRES, Liu et al., CVPR 2023, arXiv 2306.00968, section 5.1).

    A model says that a sentence means nothing by an empty mask, or by its presence score where that was trained: below
    the threshold its mask counts as empty. gIoU is the mean IoU, where a sentence that means nothing counts 1 if the
    mask is empty, else 0; cIoU the sum of all intersections over the sum of all unions; N-acc the share of the
    sentences that mean nothing whose mask is empty, T-acc the share of the others whose mask is not.

    "gIoU" is mIoU or oIoU in some papers of referring segmentation; it is neither here.

    Args:
        presence_threshold: probability below which the target counts as absent.
        **kwargs: those of `RRSISMetric`, without `published` and `breakdown`.

    Raises:
        ConfigError: the threshold is no probability, or an argument of RRSISMetric that is not meant here.
    """

    default_prefix = 'grrsis'

    def __init__(self, presence_threshold: float = 0.5, **kwargs) -> None:
        for key in ('published', 'breakdown'):
            if kwargs.get(key):
                raise ConfigError(f'GeneralizedRRSISMetric has no {key}: those are of RRSISMetric; remove it')
        if not 0 <= presence_threshold <= 1:
            raise ConfigError(f'GeneralizedRRSISMetric: presence_threshold={presence_threshold} is no probability')
        super().__init__(**kwargs)
        self.presence_threshold = presence_threshold

    def check_target(self, sample: dict) -> None:
        """Check that a sentence that means nothing has an empty ground truth.

        Raises:
            DataError: It has not.
        """
        if sample.get('no_target') and bool((sample['gt_sem_seg']['data'] > 0).any()):
            raise DataError(
                f'sample {sample["sample_id"]!r} is marked `no_target`, but its ground truth is not empty; mend it'
            )

    def predicted_mask(self, sample: dict, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The predicted mask, empty where the model says that the target is absent."""
        mask, nan = super().predicted_mask(sample, size)
        presence = sample.get('presence')
        if presence is not None and float(presence) < self.presence_threshold:
            mask = torch.zeros_like(mask)
        return mask, nan

    def compute_metrics(self, results: list[SampleResult]) -> dict[str, float]:
        """Metrics in percent; prints the table and writes the results file. Runs in the main process.

        Returns:
            `gIoU`, `cIoU`, `N-acc`, `T-acc`, and `gIoU+cIoU`, by which the best checkpoint can be chosen.

        Raises:
            DataError: a sample is missing or came twice, or all are of one kind.
        """
        self.check_complete(results)
        metrics = summarise(results, GENERALIZED_METRICS)
        print_log('\n\n' + '\n\n'.join(self.tables(results)) + '\n', logger='current')
        self.write_results(results)
        return {**metrics, 'gIoU+cIoU': metrics['gIoU'] + metrics['cIoU']}

    def tables(self, results: list[SampleResult]) -> list[str]:
        """The one table.

        Raises:
            DataError: all samples are of one kind.
        """
        marked = sum(row.no_target for row in results)
        if marked in (0, len(results)):
            self.write_results(results)
            raise DataError(
                f'GeneralizedRRSISMetric: {marked} of {len(results)} samples are marked `no_target`, so N-acc or T-acc '
                "means nothing; keep both kinds (no_target='keep' of the data set), or use RRSISMetric"
            )
        title = f'{self.title(results)}, {marked} of them mean nothing in their image'
        return [metric_table(results, title, metrics=GENERALIZED_METRICS, with_interval=GENERALIZED_METRICS)]
