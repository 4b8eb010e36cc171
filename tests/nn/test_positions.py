"""Fixed tables of positions."""

import torch

from data2vec.nn.positions import resize_positions, sincos_positions_2d


def test_positions_of_another_grid_lie_between_those_of_the_table() -> None:
    table = sincos_positions_2d(8, 16)[None]
    assert resize_positions(table, 64) is table
    small = resize_positions(table, 16)
    assert small.shape == (1, 16, 16)
    # the middle of a smaller grid's cell 0 is between the table's rows and columns 0 and 1
    expected = table.view(8, 8, 16)[:2, :2].mean((0, 1))
    torch.testing.assert_close(small[0, 0], expected, atol=0.2, rtol=0)
