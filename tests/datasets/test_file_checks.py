import math

import numpy as np
import pytest

from cleverdistiller.datasets.file_checks import find_faults, points_doubts, points_fault, refuse_faults, size_fault
from cleverdistiller.errors import InputError


@pytest.mark.parametrize('size, fault', [(0, 'empty'), (20, None), (40, None), (39, 'truncated: 39 bytes are no')])
def test_sizes(tmp_path, size, fault):
    path = tmp_path / 'scan.bin'
    assert size_fault(path, 20) == 'missing'
    path.write_bytes(bytes(size))
    found = size_fault(path, 20)
    assert found is None if fault is None else found.startswith(fault)


def test_a_folder_is_no_file(tmp_path):
    assert size_fault(tmp_path) == 'missing'


def test_faults_are_counted_and_five_are_named_in_order(tmp_path):
    names = [f'{number}.bin' for number in range(9)]
    faults = find_faults(names, lambda name: None if name in ('0.bin', '4.bin') else f'bad {name}', 'scans')
    assert faults == {name: f'bad {name}' for name in names if name not in ('0.bin', '4.bin')}
    with pytest.raises(InputError, match=r'7 bad files of 9(?s:.*)nothing was written. Try more') as refused:
        refuse_faults(tmp_path, faults, len(names), 'Try more')
    assert [name for name in names if f'    {name} (bad {name})' in str(refused.value)] == [
        '1.bin',
        '2.bin',
        '3.bin',
        '5.bin',
        '6.bin',
    ]
    refuse_faults(tmp_path, {}, len(names))


def slow_kinds(points, scale) -> tuple[bool, set[str]]:
    """Whether a scan is impossible, and what of it is unlikely, value by value."""
    doubts, brightest = set(), 0.0
    for *xyz, intensity in points.tolist():
        if not all(map(math.isfinite, (*xyz, intensity))) or max(map(abs, xyz)) > 100_000 or intensity < -1:
            return True, set()
        doubts |= {'distance'} if max(map(abs, xyz)) > 1000 else set()
        doubts |= {'negative'} if intensity < 0 else set()
        brightest = max(brightest, intensity * scale)
    doubts |= {'bright'} if brightest > 1.001 else set()
    doubts |= {'dark'} if len(points) >= 1000 and 0 < brightest < 0.01 else set()
    return False, doubts


@pytest.mark.parametrize('seed', range(40))
def test_values_equal_a_loop(seed):
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.integers(0, 7)
    points = rng.uniform(-size, size, (int(rng.choice([1, 50, 1200])), 4)).astype(np.float32)
    points[:, 3] = rng.uniform(rng.choice([0, 0, -0.5, -2]), 10.0 ** rng.integers(-3, 3), len(points))
    if rng.random() < 0.2:
        points[rng.integers(len(points)), rng.integers(4)] = rng.choice([np.nan, np.inf])
    impossible, doubts = slow_kinds(points, 0.5)
    assert (points_fault(points) is not None) == impossible
    if not impossible:
        assert points_doubts(points, 0.5).keys() == doubts
