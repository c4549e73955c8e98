import pytest
import torch
import torch.nn.functional as F

from cleverdistiller.ops.pixel_sampling import sample_pixel_features

INPUT_HW = (28, 56)


@pytest.fixture
def patches() -> torch.Tensor:
    return torch.randn(3, 5, 4, 8, requires_grad=True)


@pytest.mark.parametrize('align_corners', [True, False])
def test_equals_dense_upsampling_at_every_pixel(patches, align_corners):
    image, row, col = torch.cartesian_prod(*map(torch.arange, (3, *INPUT_HW))).T
    found = sample_pixel_features(patches, image, torch.stack([col, row], 1).float(), INPUT_HW, align_corners)
    dense = F.interpolate(patches, INPUT_HW, mode='bilinear', align_corners=align_corners)
    expected = dense[image, :, row, col]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    (ours,) = torch.autograd.grad(found.square().sum(), patches, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected.square().sum(), patches)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('align_corners', [True, False])
def test_equals_grid_sample_between_pixels_and_beyond_the_border(patches, align_corners):
    size = torch.tensor([INPUT_HW[1], INPUT_HW[0]])
    uv_px = (torch.rand(200, 2) * 1.1 - 0.05) * size
    image = torch.randint(3, (200,))
    found = sample_pixel_features(patches, image, uv_px, INPUT_HW, align_corners)
    grid = 2 * uv_px / (size - 1) - 1 if align_corners else (2 * uv_px + 1) / size - 1
    for row in range(200):
        expected = F.grid_sample(
            patches[image[row], None],
            grid[row].view(1, 1, 1, 2),
            mode='bilinear',
            padding_mode='border',
            align_corners=align_corners,
        ).flatten()
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


def test_no_pairs_give_no_rows_and_no_gradient(patches):
    empty = torch.zeros(0, dtype=torch.int64)
    found = sample_pixel_features(patches, empty, torch.zeros(0, 2), INPUT_HW)
    assert found.shape == (0, 5)
    (gradient,) = torch.autograd.grad(found.sum(), patches)
    assert torch.equal(gradient, torch.zeros_like(patches))


@pytest.mark.parametrize('align_corners', [True, False])
def test_pixels_beyond_the_border_repeat_it(patches, align_corners):
    rows, cols = INPUT_HW
    outside = torch.tensor([[-9.0, 12], [cols + 9, 12], [20, -9], [20, rows + 9], [-9, -9], [cols + 9, rows + 9]])
    border = torch.tensor([[0.0, 12], [cols - 1, 12], [20, 0], [20, rows - 1], [0, 0], [cols - 1, rows - 1]])
    image = torch.tensor([0, 1, 2, 0, 1, 2])
    found = sample_pixel_features(patches, image, outside, INPUT_HW, align_corners)
    expected = sample_pixel_features(patches, image, border, INPUT_HW, align_corners)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    corners = patches[[1, 2], :, [0, -1], [0, -1]]  # the outermost patches themselves
    torch.testing.assert_close(found[4:], corners, atol=1e-5, rtol=0)
