"""One figure a sentence: the expression above image, ground truth, pseudo-mask and prediction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from rs2sam2.visualization.overlay import FALSE, FOUND, HIT, MISSED, draw_heat, draw_regions, heat_bar
from rs2sam2.visualization.text import font, font_for, shorten, wrap

PAPER = (255, 255, 255)
INK = (24, 28, 36)
GREY = (112, 120, 132)
MARGIN, GAP = 22, 12
PANEL = 360
MAX_LINES = 5


class Panel(NamedTuple):
    """One picture of a figure: its caption, a note beside it, and a legend of (colour, word) below."""

    image: Image.Image
    caption: str
    note: str = ''
    legend: tuple[tuple[tuple[int, int, int], str], ...] = ()
    bar: bool = False


def fit(image: Image.Image, side: int) -> Image.Image:
    """RGB copy of an image that just fits in a square of `side` pixels, aspect ratio kept."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert('RGB').resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def _same_size(mask: np.ndarray, like: np.ndarray) -> np.ndarray:
    if mask.shape == like.shape:
        return mask
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(like.shape[::-1], Image.Resampling.NEAREST)) > 0


def mask_iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """IoU of two (h, w) bool masks at the size of the second; 0 where both are empty."""
    prediction = _same_size(prediction, truth)
    union = int((prediction | truth).sum())
    return int((prediction & truth).sum()) / union if union else 0.0


def build_prediction(
    photo: Image.Image, prediction: np.ndarray, truth: np.ndarray, caption: str, note: str = ''
) -> Panel:
    """A prediction in the colours of its errors.

    Args:
        photo: RGB, at the panel's size.
        prediction: (h, w) bool.
        truth: (h, w) bool, of any size.
        caption: the panel's.
        note: beside it.
    """
    truth = _same_size(truth, prediction)
    regions = [(prediction & truth, HIT), (prediction & ~truth, FALSE), (truth & ~prediction, MISSED)]
    legend = ((HIT, 'right'), (FALSE, 'false'), (MISSED, 'missed'))
    return Panel(draw_regions(photo, regions), caption, note, legend)


def build_panels(
    image: Image.Image,
    ground_truth: np.ndarray | None = None,
    pseudo_mask: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    pred_iou: float | None = None,
    side: int = PANEL,
) -> list[Panel]:
    """The panels of a figure; those whose data is None are left out.

    Args:
        image: the image, any mode and size.
        ground_truth: (h, w) bool.
        pseudo_mask: (h, w) probabilities in [0, 1], of any size.
        prediction: (h, w) bool.
        pred_iou: the model's own estimate of the IoU.
        side: of a panel, in pixels.
    """
    photo = fit(image, side)
    panels = [Panel(photo, 'image', f'{image.width} × {image.height}')]
    if ground_truth is not None:
        panels.append(
            Panel(draw_regions(photo, [(ground_truth, HIT)]), 'ground truth', '' if ground_truth.any() else 'empty')
        )
    if pseudo_mask is not None:
        note = f'{pseudo_mask.min():.2f} – {pseudo_mask.max():.2f}'
        panels.append(Panel(draw_heat(photo, pseudo_mask), 'pseudo-mask', note, bar=True))
    if prediction is not None:
        note = '' if pred_iou is None else f'estimated {pred_iou:.2f}'
        if not prediction.any():
            note = f'empty, {note}' if note else 'empty'
        if ground_truth is None:
            panels.append(Panel(draw_regions(photo, [(prediction, FOUND)]), 'prediction', note))
        else:
            caption = f'prediction  IoU {mask_iou(prediction, ground_truth):.2f}'
            panels.append(build_prediction(photo, prediction, ground_truth, caption, note))
    return panels


def _draw_caption(canvas: Image.Image, panel: Panel, x: int, y: int) -> None:
    """Caption at the left, note at the right, legend or colour bar in the line below."""
    draw = ImageDraw.Draw(canvas)
    width = panel.image.width
    bold, plain, small = font(14, bold=True), font(13), font(11)
    caption = shorten(panel.caption, width, bold)
    draw.text((x, y), caption, INK, bold, anchor='ls')
    room = width - bold.getlength(caption) - 10
    if plain.getlength(panel.note) <= room:
        draw.text((x + width, y), panel.note, GREY, plain, anchor='rs')
    below = y + 19
    if panel.bar:
        bar = heat_bar(min(120, width - 30), 8)
        draw.text((x, below), '0', GREY, small, anchor='ls')
        canvas.paste(bar, (x + 12, below - 8))
        draw.text((x + 17 + bar.width, below), '1', GREY, small, anchor='ls')
    for colour, word in panel.legend:
        if x + 14 + small.getlength(word) > canvas.width - MARGIN / 2:
            break
        draw.rounded_rectangle((x, below - 9, x + 9, below), 2, colour)
        draw.text((x + 14, below), word, GREY, small, anchor='ls')
        x += 14 + int(small.getlength(word)) + 14


def draw_figure(panels: Sequence[Panel], expression: str, subtitle: str = '') -> Image.Image:
    """Put panels in a row under the expression.

    Args:
        panels: from `build_panels`.
        expression: the referring expression; wrapped, at most five lines.
        subtitle: a small line under it (sample id, category).

    Returns:
        An RGB picture.
    """
    inner = sum(panel.image.width for panel in panels) + GAP * (len(panels) - 1)
    width, height = inner + 2 * MARGIN, max(panel.image.height for panel in panels)
    large, small = font_for(expression, 21, bold=True), font(12)
    lines = wrap(f'“{expression}”', inner, large, MAX_LINES)
    top = MARGIN + 28 * len(lines) + (22 if subtitle else 4)
    canvas = Image.new('RGB', (width, top + height + 40 + MARGIN // 2), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + 18 + 28 * number), line, INK, large, anchor='ls')
    if subtitle:
        draw.text((MARGIN, top - 12), shorten(subtitle, inner, small), GREY, small, anchor='ls')
    x = MARGIN
    for panel in panels:
        canvas.paste(panel.image, (x, top))
        _draw_caption(canvas, panel, x, top + height + 21)
        x += panel.image.width + GAP
    return canvas


def contact_sheet(figures: Sequence[Image.Image], columns: int, gap: int = 8) -> Image.Image:
    """Pictures of any sizes in rows of `columns`; each column as wide as its widest, each row as high as its highest.

    Raises:
        ValueError: there are no pictures, or no columns.
    """
    if not figures or columns < 1:
        raise ValueError('a contact sheet needs pictures and at least one column')
    columns = min(columns, len(figures))
    rows = [figures[start : start + columns] for start in range(0, len(figures), columns)]
    widths = [max(row[column].width for row in rows if column < len(row)) for column in range(columns)]
    heights = [max(figure.height for figure in row) for row in rows]
    sheet = Image.new('RGB', (sum(widths) + gap * (columns - 1), sum(heights) + gap * (len(rows) - 1)), PAPER)
    for r, row in enumerate(rows):
        for c, figure in enumerate(row):
            sheet.paste(figure.convert('RGB'), (sum(widths[:c]) + gap * c, sum(heights[:r]) + gap * r))
    return sheet
