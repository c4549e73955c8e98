import pytest

from cleverdistiller.datasets.file_checks import find_faults, refuse_faults, size_fault
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
