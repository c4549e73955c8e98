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


QUERIES = dict(
    position_lidar_m=torch.rand(4, 3),
    occupied=torch.rand(4),
    intensity=torch.rand(4),
    support_query=torch.zeros(9).long(),
    support_point=torch.zeros(9).long(),
)
GRID = dict(
    features=torch.rand(3, 4),
    coords=torch.zeros(3, 4).int(),
    point_to_voxel=torch.zeros(7).long(),
    representative=torch.zeros(3).long(),
    batch_size=1,
)


@pytest.mark.parametrize(
    'structure, right, name, wrong',
    [
        (OccupancyQueries, QUERIES, 'position_lidar_m', torch.rand(4, 4)),
        (OccupancyQueries, QUERIES, 'occupied', torch.ones(4).long()),
        (OccupancyQueries, QUERIES, 'intensity', torch.rand(4, 1)),
        (OccupancyQueries, QUERIES, 'support_query', torch.zeros(9).int()),
        (OccupancyQueries, QUERIES, 'support_point', torch.zeros(8).long()),
        (VoxelGrid, GRID, 'features', torch.rand(2, 4)),
        (VoxelGrid, GRID, 'coords', torch.zeros(3, 4).long()),
        (VoxelGrid, GRID, 'point_to_voxel', torch.zeros(7, 1).long()),
        (VoxelGrid, GRID, 'representative', torch.zeros(4).long()),
    ],
)
def test_the_wrong_field_is_named(structure, right, name, wrong):
    structure(**right)
    with pytest.raises(ValueError, match=f'{structure.__name__}.{name}: got .*expected'):
        structure(**{**right, name: wrong})


def test_tensors_move_together_and_nothing_can_be_assigned():
    grid = VoxelGrid(torch.rand(2, 4), torch.zeros(2, 4).int(), torch.zeros(5).long(), torch.zeros(2).long(), 1)
    moved = grid.to(torch.device('meta'))
    assert {moved.features.device.type, moved.coords.device.type, moved.point_to_voxel.device.type} == {'meta'}
    assert moved.batch_size == 1 and len(moved) == 2
    with pytest.raises(AttributeError):
        grid.batch_size = 2
