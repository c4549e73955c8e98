import shutil
from pathlib import Path

import mmengine
import numpy as np
import pytest
from mmdet3d.registry import DATASETS

from cleverdistiller.datasets.scan_index import LAYOUTS, build_infos, file_fault, find_scans, named_files
from cleverdistiller.errors import InputError
from scan_roots import NUMBERS, SETS, write_scan_root


@pytest.fixture(scope='module', params=LAYOUTS)
def dataset(request) -> str:
    return request.param


@pytest.fixture(scope='module')
def pristine(dataset, tmp_path_factory):
    """Root and what was written; do not change the folder, copy it."""
    root = tmp_path_factory.mktemp(dataset)
    return root, write_scan_root(dataset, root)


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    """A root of its own for each test."""
    return Path(shutil.copytree(pristine[0], tmp_path / 'root'))


def faults_of(dataset: str, root: Path) -> dict[str, str]:
    """Fault of each bad file below a root."""
    layout = LAYOUTS[dataset]
    files = named_files(frame for scans in find_scans(layout, root).values() for frame in scans)
    faults = {name: file_fault(root, name, scan, layout.columns) for name, scan in files.items()}
    return {name: fault for name, fault in faults.items() if fault}


def test_every_set_is_tested():
    assert LAYOUTS.keys() == SETS.keys()


def test_frames_come_by_sequence_then_number(dataset, pristine):
    root, written = pristine
    found = find_scans(LAYOUTS[dataset], root)
    assert {split: [(frame.scan, frame.label) for frame in scans] for split, scans in found.items()} == {
        split: [(frame.scan_name, frame.mask_name) for frame in frames] for split, frames in written.items()
    }
    assert faults_of(dataset, root) == {}


def test_every_record_loads_as_a_dictionary_would(dataset, pristine, tmp_path):
    root, written = pristine
    made, ignore = SETS[dataset], DATASETS.get(SETS[dataset].type).labels.ignore_index
    steps = [
        dict(type='LoadLiDARSweep', load_dim=made.columns, intensity_scale=made.intensity_scale),
        dict(type='LoadPointLabels'),
        *([dict(type='DropNoReturns')] if dataset == 'rellis3d' else []),
    ]
    for split, scans in find_scans(LAYOUTS[dataset], root).items():
        infos = build_infos(dataset, scans)
        assert infos['metainfo'] == dict(dataset=dataset, info_version='1.1')
        mmengine.dump(infos, tmp_path / f'{split}.pkl')
        loaded = DATASETS.build(
            dict(
                type=made.type,
                data_root=str(root),
                ann_file=str(tmp_path / f'{split}.pkl'),
                pipeline=steps,
                test_mode=split != 'train',
            )
        )
        assert len(loaded) == len(written[split]) == len(made.sequences[split]) * len(NUMBERS)
        assert loaded.name == dataset
        for index, frame in enumerate(written[split]):
            sample, kept = loaded[index], [True] * len(frame.raw)
            if dataset == 'rellis3d':
                kept = [any(row[:3]) for row in frame.points.tolist()]
                assert 0 < sum(kept) < len(kept)
            stored = frame.points[kept][:, :4]
            np.testing.assert_allclose(
                sample['points'].tensor.numpy(), stored * [1, 1, 1, made.intensity_scale], rtol=1e-6
            )
            expected = [made.classes[number] for number, keep in zip(frame.raw.tolist(), kept) if keep]
            assert sample['pts_semantic_mask'].tolist() == expected and ignore in expected
            assert sample['sample_idx'] == index and sample['num_pts_feats'] == made.columns
            path = Path(frame.scan_name)
            assert sample['frame_id'] == f'{path.parts[-3]}/{path.stem}'
            if split != 'train':
                assert sample['eval_ann_info']['pts_semantic_mask'].tolist() == expected


def test_semantickittis_test_sequences_have_no_labels_and_may_be_left_out(tmp_path):
    written = write_scan_root('semantickitti', tmp_path)
    assert [*find_scans(LAYOUTS['semantickitti'], tmp_path)] == ['train', 'val']
    sequences = [str(number) for number in range(11, 22)]
    for sequence in sequences:
        folder = tmp_path / 'sequences' / sequence / 'velodyne'
        folder.mkdir(parents=True)
        written['val'][0].points.tofile(folder / '000000.bin')
    test = find_scans(LAYOUTS['semantickitti'], tmp_path)['test']
    assert [frame.scan for frame in test] == [f'sequences/{sequence}/velodyne/000000.bin' for sequence in sequences]
    assert not any('pts_semantic_mask_path' in record for record in build_infos('semantickitti', test)['data_list'])
    shutil.rmtree(tmp_path / 'sequences/17')  # a submission would lack it
    with pytest.raises(InputError, match='without sequences/17/velodyne'):
        find_scans(LAYOUTS['semantickitti'], tmp_path)


def test_scribbles_are_for_training_only(tmp_path):
    write_scan_root('scribblekitti', tmp_path)
    found = find_scans(LAYOUTS['scribblekitti'], tmp_path)
    assert {Path(frame.label).parent.name for frame in found['train']} == {'scribbles'}
    assert {Path(frame.label).parent.name for frame in found['val']} == {'labels'}


@pytest.mark.parametrize('part', ['scan', 'label'])
@pytest.mark.parametrize(
    'damage, fault',
    [
        (lambda path: path.unlink(), 'missing'),
        (lambda path: path.write_bytes(b''), 'empty'),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), 'truncated'),
    ],
    ids=['missing', 'empty', 'truncated'],
)
def test_a_bad_file_is_found_alone(dataset, pristine, root, part, damage, fault):
    frame = pristine[1]['val'][0]
    victim = frame.scan_name if part == 'scan' else frame.mask_name
    damage(root / victim)
    faults = faults_of(dataset, root)
    assert [*faults] == [victim] and faults[victim].startswith(fault)


@pytest.mark.parametrize('change', [-1, 1])
def test_a_label_of_another_scan_is_found(dataset, pristine, root, change):
    frame = pristine[1]['train'][1]
    rows = len(frame.raw)
    (root / frame.mask_name).write_bytes(bytes(4 * (rows + change)))
    assert faults_of(dataset, root) == {frame.mask_name: f'{rows + change} labels for {rows} points'}


def test_a_missing_sequence_is_named(dataset, pristine, root):
    layout = LAYOUTS[dataset]
    for split in layout.splits if dataset != 'semantickitti' else ('train', 'val'):
        victim = root / layout.sources(split)[-1]
        victim.rename(root / 'elsewhere')
        with pytest.raises(InputError, match=f'{root}, without {layout.sources(split)[-1]}\n'):
            find_scans(layout, root)
        (root / 'elsewhere').rename(victim)


def test_an_empty_sequence_is_named(dataset, pristine, root):
    layout = LAYOUTS[dataset]
    victim = root / layout.sources('val')[0]
    if victim.is_dir():
        for path in [*victim.iterdir(), *(victim.parent / 'labels').iterdir()]:
            path.unlink()
    else:
        victim.write_text('\n')
    with pytest.raises(InputError, match=f'{victim} without scans'):
        find_scans(layout, root)


def test_a_folder_of_something_else_names_five(tmp_path):
    with pytest.raises(InputError, match=r'without sequences/00/velodyne, (\S+, ){3}\S+ and \d+ more'):
        find_scans(LAYOUTS['semantickitti'], tmp_path)


def test_a_partial_root_needs_one_sequence_to_train_on(tmp_path):
    write_scan_root('semantickitti', tmp_path)
    layout = LAYOUTS['semantickitti']
    for sequence in ('01', '02', '03', '04', '05', '06', '07', '08', '10'):
        shutil.rmtree(tmp_path / 'sequences' / sequence)
    found = find_scans(layout, tmp_path, partial=True)
    assert {split: len(scans) for split, scans in found.items()} == dict(train=4)
    for sequence in ('00', '09'):
        shutil.rmtree(tmp_path / 'sequences' / sequence)
    with pytest.raises(InputError, match='without sequences/00/velodyne'):
        find_scans(layout, tmp_path, partial=True)


@pytest.mark.parametrize('row', ['one.bin', 'one.bin one.label 3'])
def test_a_bad_row_of_a_list_is_told(tmp_path, row):
    write_scan_root('rellis3d', tmp_path)
    with open(tmp_path / 'pt_val.lst', 'a') as file:
        file.write(row + '\n')
    with pytest.raises(InputError, match=f"pt_val.lst with the row '{row}'"):
        find_scans(LAYOUTS['rellis3d'], tmp_path)


def test_a_scan_in_two_splits_is_refused(tmp_path):
    for split, rows in dict(train='a b\nc d\n', val='c d\n', test='e f\n').items():
        (tmp_path / f'pt_{split}.lst').write_text(rows)
    with pytest.raises(InputError, match=r'/c, listed in train and in val'):
        find_scans(LAYOUTS['rellis3d'], tmp_path)


def test_a_list_that_is_not_text_is_told(tmp_path):
    write_scan_root('rellis3d', tmp_path)
    (tmp_path / 'pt_val.lst').write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match=r'pt_val.lst with the row'):
        find_scans(LAYOUTS['rellis3d'], tmp_path)
