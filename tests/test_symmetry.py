"""The eight symmetries against numpy, and the laws of their group."""

import numpy as np
import pytest
import torch

from rs2sam2.errors import ConfigError
from rs2sam2.symmetry import SYMMETRIES, find_symmetry

GRID = np.arange(12).reshape(3, 4)
MEANT = {
    'identity': GRID,
    'rot90': np.rot90(GRID, 1),
    'rot180': np.rot90(GRID, 2),
    'rot270': np.rot90(GRID, 3),
    'flip_horizontal': np.fliplr(GRID),
    'flip_vertical': np.flipud(GRID),
    'transpose': GRID.T,
    'anti_transpose': np.rot90(GRID.T, 2),
}


@pytest.mark.parametrize('name', SYMMETRIES)
def test_arrays_tensors_and_axes(name):
    symmetry, meant = SYMMETRIES[name], MEANT[name]
    assert np.array_equal(symmetry.apply(GRID), meant)
    assert np.array_equal(symmetry.apply(torch.from_numpy(GRID)).numpy(), meant)
    picture = np.stack([GRID, GRID + 20, GRID + 40], axis=-1)
    turned = symmetry.apply(picture, rows=0, columns=1)
    assert np.array_equal(turned[..., 1], meant + 20)
    assert np.array_equal(symmetry.inverse.apply(meant), GRID)


@pytest.mark.parametrize('name', SYMMETRIES)
def test_points_and_directions_go_with_their_pixels(name):
    symmetry = SYMMETRIES[name]
    turned = symmetry.apply(GRID)
    for (row, column), value in np.ndenumerate(GRID):
        x, y = symmetry.point(column + 0.5, row + 0.5, *GRID.shape)
        assert turned[int(y), int(x)] == value
    origin, right = symmetry.point(1, 1, *GRID.shape), symmetry.point(2, 1, *GRID.shape)
    assert symmetry.direction((1, 0)) == (right[0] - origin[0], right[1] - origin[1])


def test_the_group():
    for first in SYMMETRIES.values():
        assert first.then(first.inverse) is SYMMETRIES['identity']
        for second in SYMMETRIES.values():
            assert np.array_equal(first.then(second).apply(GRID), second.apply(first.apply(GRID)))
    assert SYMMETRIES['rot90'].then(SYMMETRIES['rot90']) is SYMMETRIES['rot180']


def test_an_unknown_name():
    with pytest.raises(ConfigError, match=r"'rot45' is no symmetry.*rot90"):
        find_symmetry('rot45')
