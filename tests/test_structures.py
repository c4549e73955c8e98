import pytest
import torch

from cleverdistiller.structures import OccupancyQueries, PointPixelPairs, VoxelGrid


def make_pairs(count: int, points: int, images: int) -> PointPixelPairs:
    return PointPixelPairs(torch.randint(points, (count,)), torch.randint(images, (count,)), torch.rand(count, 2))


def make_queries(count: int, support: int, points: int) -> OccupancyQueries:
    return OccupancyQueries(
        torch.rand(count, 3),
        torch.ones(count),
        torch.rand(count),
        torch.randint(count, (support,)),
        torch.randint(points, (support,)),
    )


def test_pairs_are_collated_with_offsets():
    scans = [make_pairs(4, 10, 2), make_pairs(0, 7, 1), make_pairs(3, 5, 3)]
    joined = PointPixelPairs.collate(scans, [10, 7, 5], [2, 1, 3])
    assert joined.point_index.tolist() == [*scans[0].point_index, *(scans[2].point_index + 17)]
    assert joined.image_index.tolist() == [*scans[0].image_index, *(scans[2].image_index + 3)]
    assert torch.equal(joined.uv_px, torch.cat([scan.uv_px for scan in scans])) and len(joined) == 7


def test_queries_are_collated_with_offsets():
    scans = [make_queries(4, 9, 10), make_queries(3, 5, 8)]
    joined = OccupancyQueries.collate(scans, [10, 8])
    assert joined.support_query.tolist() == [*scans[0].support_query, *(scans[1].support_query + 4)]
    assert joined.support_point.tolist() == [*scans[0].support_point, *(scans[1].support_point + 10)]
    assert len(joined) == 7 and joined.occupied.shape == (7,)


@pytest.mark.parametrize(
    'changes',
    [
        dict(uv_px=torch.rand(4, 3)),
        dict(uv_px=torch.rand(4, 2).double()),
        dict(image_index=torch.zeros(3).long()),
        dict(point_index=torch.zeros(4).int()),
    ],
)
def test_a_wrong_shape_or_type_is_told(changes):
    right = dict(point_index=torch.zeros(4).long(), image_index=torch.zeros(4).long(), uv_px=torch.rand(4, 2))
    PointPixelPairs(**right)
    with pytest.raises(ValueError, match='expected'):
        PointPixelPairs(**{**right, **changes})


def test_tensors_move_together_and_nothing_can_be_assigned():
    grid = VoxelGrid(torch.rand(2, 4), torch.zeros(2, 4).int(), torch.zeros(5).long(), torch.zeros(2).long(), 1)
    moved = grid.to(torch.device('meta'))
    assert {moved.features.device.type, moved.coords.device.type, moved.point_to_voxel.device.type} == {'meta'}
    assert moved.batch_size == 1 and len(moved) == 2
    with pytest.raises(AttributeError):
        grid.batch_size = 2
