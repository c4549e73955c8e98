"""Whoever writes a file: stopped at any moment, by an error or for good, nobody ever reads half of it."""

import ast
import errno
import io
import itertools
import json
import logging
import os
import resource
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.fileio import get_file_backend
from torch import nn

from cleverdistiller.datasets import waymo_detection_files, waymo_segmentation_files
from cleverdistiller.datasets.frame_list import FrameList
from cleverdistiller.datasets.info_file import read_infos, write_infos
from cleverdistiller.datasets.superpixel_cache import read_superpixels, write_superpixels
from cleverdistiller.engine.hooks import ExportStudentHook, ExportTeacherHook, SafeCheckpointHook
from cleverdistiller.errors import InputError
from cleverdistiller.evaluation.detection_predictions import FrameDetections, read_detections, write_detections
from cleverdistiller.evaluation.nuscenes_seg_submission import NuScenesSegSubmission
from cleverdistiller.fileio import read_checkpoint, read_state_dict, replace_when_complete
from cleverdistiller.provenance import refuse_unfinished, write_results
from cleverdistiller.simulation import run
from cleverdistiller.simulation.run import SimulatedSet, simulate
from cleverdistiller.teacher_cache import CacheRecord, ImageFile, Shard
from cleverdistiller.teacher_cache.teacher_cache import BASIS_FILE
from cleverdistiller.teacher_cache.writing import measured
from conftest import REPO
from kitti_frames import car, make_frame
from teacher_caches import record_of, see

PACKAGE = REPO / 'projects' / 'CleverDistiller' / 'cleverdistiller'
SOURCES = [*sorted(PACKAGE.rglob('*.py')), *sorted((REPO / 'tools').glob('*.py'))]
MOST_MOMENTS = 12  # of a writer that is tried


@dataclass(frozen=True)
class Case:
    """A writer of the package and its reader.

    Args:
        write (Callable[[Path, int], object]): Writes below a folder, other content for another number.
        read (dict[str, Callable[[Path], object]]): What a reader gets of each part, as plain values; it raises where
            there is nothing.
    """

    write: Callable[[Path, int], object]
    read: dict[str, Callable[[Path], object]]

    def parts(self, folder: Path) -> dict[str, object]:
        """What is there of each part, None for what is not."""
        return {name: self._part(reader, folder) for name, reader in self.read.items()}

    @staticmethod
    def _part(reader: Callable[[Path], object], folder: Path) -> object:
        try:
            return reader(folder)
        except (InputError, FileNotFoundError):
            return None


def plain(tensors: dict) -> dict:
    return {name: np.asarray(values).tolist() for name, values in tensors.items()}


def as_file(folder: Path, number: int) -> None:
    with replace_when_complete(folder / 'file') as temporary:
        temporary.write_text(f'{number}' * 1000)


def checkpoint(folder: Path, number: int) -> None:
    content = io.BytesIO()
    torch.save(dict(state_dict=dict(a=torch.full((100,), number))), content)
    get_file_backend(backend_args=dict(backend='replace_when_complete')).put(content.getvalue(), folder / 'epoch.pth')


def pointer(folder: Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    for epoch in range(number):
        torch.save({}, folder / f'epoch_{epoch}.pth')
    SafeCheckpointHook().before_run(SimpleNamespace(work_dir=str(folder), _resume=True, _load_from=None))


def trained(folder: Path, number: int) -> SimpleNamespace:
    """A runner at the end of a training."""
    net = nn.Linear(10, 10)
    for values in net.parameters():
        nn.init.constant_(values, number)
    net.arguments, model = dict(width=10), nn.Module()
    model.student = model.vit = net
    model.arguments, model.data_preprocessor = {}, SimpleNamespace(voxel_size_m=0.1)
    return SimpleNamespace(
        model=model,
        work_dir=str(folder),
        cfg=SimpleNamespace(pretty_text=''),
        train_dataloader=SimpleNamespace(dataset=Scans()),
        logger=logging.getLogger('quiet'),
        **dict(seed=0, epoch=1, iter=1),
    )


class Scans(list):
    data_root = 'nowhere'


def weights(name: str) -> Callable[[Path], object]:
    return lambda folder: plain(read_state_dict(folder / name))


def frame_list(folder: Path, number: int) -> None:
    frames = tuple(f'{frame:06d}' for frame in range(number, 50))
    FrameList('kitti', 'uniform', number, '10', 50, 'f', frames).write(folder / 'list.json')


def infos(folder: Path, number: int) -> None:
    content = dict(metainfo={}, data_list=[number] * 100)
    write_infos({folder / f'{part}.pkl': content for part in ('train', 'val')})


def detections(folder: Path, number: int) -> None:
    boxes = np.full((number, 7), number, np.float32)
    frame = FrameDetections('000001', boxes, np.ones(number, np.float32), np.array(['Car'] * number))
    write_detections(folder / 'found.npz', [frame])


def shard(folder: Path, number: int) -> None:
    images = [ImageFile(f'{row}.jpg', 1, 1, (2, 2)) for row in range(2)]
    Shard.write(folder / Shard.name(0), dict(patches=torch.full((2, 3, 4, 4), number).half()), images, 'id')


def shard_rows(folder: Path) -> list[dict]:
    kept = dict(patches=dict(dtype='float16', shape=[3, 4, 4]))
    opened = Shard.open(folder / Shard.name(0), ['0.jpg', '1.jpg'], kept, 'id')
    return [plain(opened.read(row)) for row in range(2)]


def basis(folder: Path, number: int) -> None:
    said = see(torch.randint(255, (6, 3, 8, 16), generator=torch.Generator().manual_seed(number), dtype=torch.uint8))
    measured(folder, record_of(form='pca', components=2), said)


def superpixels(folder: Path, number: int) -> None:
    write_superpixels(folder / 'a.png', np.full((20, 30), number, np.uint8), dict(settings='', image_sha256=''))


def submission(folder: Path, number: int) -> None:
    writer = NuScenesSegSubmission(str(folder / 'submission'))
    for token in 'ab':
        mask = torch.full((100,), number)
        writer.process({}, [dict(pred_pts_seg=dict(pts_semantic_mask=mask), sample_data_token=token, lidar_path='')])
    writer.compute_metrics(writer.results)


def packed(folder: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(folder / 'submission.zip') as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@contextmanager
def records_of(number: int):
    """A module that reads no records: TensorFlow would take ten seconds."""
    points = np.full((20, 5), number, np.float32)
    frame = SimpleNamespace(
        context=SimpleNamespace(name='c'), timestamp_micros=1, laser_labels=[SimpleNamespace(num_lidar_points_in_box=9)]
    )
    reads = SimpleNamespace(
        check_records=lambda source: None,
        damage_named=lambda source: nullcontext(),
        labelled_frames=lambda source: [frame],
        labelled_points=lambda frame: (points[:, :4], np.full(20, number, np.uint8)),
        record_spans=lambda source: [0],
        read_frame=lambda source, span: frame,
        detection_points=lambda frame, returns: points,
    )
    box = dict(bbox_3d=[number, number, number - 1, 2, 2, 2, 0], bbox_label_3d=2, difficulty=1)
    record = dict(
        frame_id='c/1',
        context_name='c',
        timestamp=1,
        lidar_points=dict(lidar_path='training/c/points/1.bin'),
        instances=[box],
    )
    with (
        mock.patch.dict(sys.modules, {'cleverdistiller.datasets.waymo_records': reads}),
        mock.patch.object(waymo_detection_files, 'frame_record', lambda frame, source: dict(record)),
    ):
        yield


def record_file(folder: Path, number: int) -> Path:
    path = folder.with_name(f'{folder.name}_source') / 'training' / 'r.tfrecord'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'.' * number)  # another size, another content
    return path


def waymo_segmentation(folder: Path, number: int) -> None:
    with records_of(number):
        waymo_segmentation_files.prepare_file(record_file(folder, number), folder)


def waymo_labels(folder: Path) -> object:
    # What was prepared of the file as it was then.
    for number in (1, 2):
        if waymo_segmentation_files.prepared_frames(record_file(folder, number), folder):
            files = waymo_segmentation_files.frame_files('training', 'c/1')
            return [number, *((folder / path).stat().st_size for path in files)]
    return None


def waymo_detection(folder: Path, number: int) -> None:
    with records_of(number):
        conversion = waymo_detection_files.Conversion(folder)
        waymo_detection_files.convert_file(record_file(folder, number), conversion)


def waymo_objects(folder: Path) -> object:
    for number in (1, 2):
        part = waymo_detection_files.read_part(record_file(folder, number), waymo_detection_files.Conversion(folder))
        if part:
            return [number, *((folder / each['path']).stat().st_size for each in part['objects'])]
    return None


def simulated(kind: str) -> Case:
    """A whole simulated set of frames made by hand, written by the runner in this process."""

    def write(folder: Path, number: int) -> None:
        def frame_of(world, rig, index):
            frame = make_frame([car()], points=20, index=index, seed=index)
            [(name, image)] = frame.images.items()
            corner = {key: getattr(image, key)[:4, :4] for key in ('rgb', 'depth_m', 'surface', 'instance')}
            return replace(frame, images={name: replace(image, **corner)})

        def one_by_one(wanted, out, todo, workers, kind):
            for scene, frame in todo:
                run._simulate_run(wanted, out, scene, [frame], kind)

        patches = dict(simulate_frame=frame_of, _simulate_all=one_by_one, _scene=lambda *_: None)
        with mock.patch.multiple(run, **patches):
            simulate(SimulatedSet(kind, 1, 3, 0), folder, 1)

    def read(folder: Path) -> dict[str, bytes]:
        refuse_unfinished(folder)
        if not (folder / 'simulation.json').is_file():
            raise FileNotFoundError
        paths = [path for path in sorted(folder.rglob('*')) if path.is_file() and run.PROGRESS not in path.parts]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    return Case(write, dict(set=read))


CASES = dict(
    file=Case(as_file, dict(file=lambda folder: (folder / 'file').read_text())),
    checkpoint=Case(checkpoint, dict(weights=weights('epoch.pth'))),
    pointer=Case(pointer, dict(pointer=lambda folder: Path((folder / 'last_checkpoint').read_text()).name)),
    student=Case(
        lambda folder, number: ExportStudentHook().after_train(trained(folder, number)),
        {name: weights(name) for name in ('student.pth', 'student.safetensors')},
    ),
    teacher=Case(
        lambda folder, number: ExportTeacherHook().after_train(trained(folder, number)),
        dict(weights=weights('teacher.safetensors')),
    ),
    results=Case(
        lambda folder, number: write_results(folder / 'r.json', dict(miou=number / 7), {}),
        dict(results=lambda folder: json.loads((folder / 'r.json').read_text())),
    ),
    frame_list=Case(frame_list, dict(frames=lambda folder: FrameList.read(folder / 'list.json'))),
    infos=Case(
        infos, {part: lambda folder, part=part: read_infos(f'{folder}/{part}.pkl', '') for part in ('train', 'val')}
    ),
    detections=Case(
        detections,
        dict(boxes=lambda folder: read_detections(folder / 'found.npz')['000001'].boxes_lidar.tolist()),
    ),
    superpixels=Case(superpixels, dict(ids=lambda folder: read_superpixels(folder / 'a.png')[0].tolist())),
    shard=Case(shard, dict(rows=shard_rows)),
    cache_record=Case(lambda folder, number: record_of(batch_size=number).write(folder), dict(record=CacheRecord.read)),
    basis=Case(basis, dict(basis=lambda folder: plain(read_checkpoint(folder / BASIS_FILE)))),
    submission=Case(submission, dict(archive=packed)),
    waymo_segmentation=Case(waymo_segmentation, dict(labels=waymo_labels)),
    waymo_detection=Case(waymo_detection, dict(objects=waymo_objects)),
    simulated_kitti=simulated('kitti'),
    simulated_semantickitti=simulated('semantickitti'),
)


class Stopped(OSError):
    """The disk that fails, the block after it that must not run."""


@contextmanager
def stopped_at(moment: int | None, stop: Callable[[], None] = lambda: None):
    """Count the package's renames and fsyncs; stop just before (even) or after (odd) one of them.

    Args:
        moment (int | None): Twice the number of calls before, one more for after; None counts alone.
        stop (Callable): What happens then.
    """
    moments = itertools.count()

    def watched(call: Callable) -> Callable:
        def stops(*args, **kwargs):
            if next(moments) == moment:
                stop()
            found = call(*args, **kwargs)
            if next(moments) == moment:
                stop()
            return found

        return stops

    with mock.patch.object(os, 'replace', watched(os.replace)), mock.patch.object(os, 'fsync', watched(os.fsync)):
        yield moments


def fails() -> None:
    raise Stopped(errno.EIO, 'Input/output error')


def dies(action: Callable[[], object]) -> int:
    """Do something in a copy of this process; returns how it ended."""
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        torch.set_num_threads(1)  # the copy has none of the threads that OpenMP thinks it has, and would wait for them
        try:
            # Pytest's files have no room either, and bars have locks that are shared with this process.
            with open(os.devnull, 'w') as sys.stdout, open(os.devnull, 'w') as sys.stderr:
                action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def copied(folder: Path | None, to: Path) -> Path:
    for path in (to, to.with_name(f'{to.name}_source')):
        shutil.rmtree(path, ignore_errors=True)
    if folder is not None:
        shutil.copytree(folder, to)
    return to


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob('.*.tmp'))


@pytest.mark.parametrize('name', CASES)
def test_a_writer_stopped_at_any_rename_or_fsync_leaves_the_old_the_new_or_nothing(tmp_path, name):
    case = CASES[name]
    case.write(tmp_path / 'old', 1)
    old = case.parts(tmp_path / 'old')
    # A simulated set is never written over: it goes on, so that there the old one is none.
    before = None if name.startswith('simulated') else tmp_path / 'old'
    with stopped_at(None) as moments:
        case.write(copied(before, tmp_path / 'new'), 2)
    new, count = case.parts(tmp_path / 'new'), next(moments)
    assert count >= 6 and None not in (*old.values(), *new.values()) and (old != new or before is None)
    chosen = sorted({*np.linspace(0, count - 1, MOST_MOMENTS).astype(int).tolist(), *range(max(0, count - 6), count)})
    seen = []
    for moment, start in itertools.product(chosen, {before, None}):
        allowed = {part: [None, new[part], *([old[part]] if start else [])] for part in new}

        folder = copied(start, tmp_path / 'failed')
        with pytest.raises((OSError, InputError)), stopped_at(moment, fails):
            case.write(folder, 2)
        found = case.parts(folder)
        assert all(found[part] in allowed[part] for part in new), moment
        assert not leftovers(folder)
        case.write(folder, 2)
        assert case.parts(folder) == new

        folder = copied(start, tmp_path / 'died')
        with stopped_at(moment, lambda: os._exit(9)):
            assert os.waitstatus_to_exitcode(dies(lambda folder=folder: case.write(folder, 2))) == 9
        found = case.parts(folder)
        assert all(found[part] in allowed[part] for part in new), moment
        case.write(folder, 2)
        assert case.parts(folder) == new
        seen += [found[part] == new[part] for part in new]
    assert True in seen and False in seen  # some came before, some after


@pytest.mark.parametrize('killed', [True, False], ids=['killed', 'full'])
@pytest.mark.parametrize('name', CASES)
def test_a_writer_stopped_in_the_middle_of_a_file_leaves_the_old_the_new_or_nothing(tmp_path, name, killed):
    case = CASES[name]
    case.write(tmp_path / 'old', 1)
    old = case.parts(tmp_path / 'old')
    before = None if name.startswith('simulated') else tmp_path / 'old'
    case.write(copied(before, tmp_path / 'new'), 2)
    new = case.parts(tmp_path / 'new')
    sizes = {path.stat().st_size for path in (tmp_path / 'new').rglob('*') if path.is_file()}
    folder = copied(before, tmp_path / 'stopped')

    def write(most_bytes: int) -> None:
        # The kernel's own limit on the size of a file: the write that passes it is cut, then ends the process.
        if killed:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        case.write(folder, 2)

    for most_bytes in sorted({1, *(size // 2 for size in sizes), max(sizes) - 1} - {0}):
        status = os.waitstatus_to_exitcode(dies(lambda most_bytes=most_bytes: write(most_bytes)))
        assert status == (-signal.SIGXFSZ if killed else 1), most_bytes
        found = case.parts(folder)
        assert all(found[part] in (None, old[part] if before else None, new[part]) for part in new), most_bytes
        assert killed or not leftovers(folder)
    case.write(folder, 2)
    assert case.parts(folder) == new


# What may write past replace_when_complete, and why nobody reads half of it.
ALLOWED = {
    'evaluation/submission.py: zipfile.ZipFile(archive,': 'the temporary file of the caller',
    'datasets/waymo_detection_files.py: (out / path).write_bytes(': 'millions; the part comes after them',
    'datasets/kitti_infos.py: source.write_bytes(': 'in a TemporaryDirectory',
    'tools/_stages.py: log.open(': 'a log, for people',
    'tools/_stages.py: open(log,': 'a log, for people',
    'tools/_transfer_runs.py: open(log,': 'a log, for people',
    'tools/build_mmcv.py: os.replace(': 'a whole wheel, which pip checks',
    'tools/build_mmcv.py: shutil.copy(': 'the Makefile takes it once this tool has ended well; pip checks it',
    'tools/train.py: with_teacher_cache(cfg, args.teacher_cache).dump(': 'in a TemporaryDirectory',
}
WRITES = {
    *('write_text', 'write_bytes', 'tofile', 'savefig', 'save_file', 'savez', 'savez_compressed', 'save', 'dump'),
    *('rename', 'replace', 'renames', 'link_to', 'copy', 'copy2', 'copyfile', 'copytree', 'move', 'imwrite', 'imsave'),
    *('ZipFile', 'TFRecordWriter', 'open', 'fdopen', 'to_csv', 'to_pickle', 'extractall', 'make_archive'),
}
MEMORY = ('io.BytesIO', 'io.StringIO')
HARMLESS = ('dataclasses.', 'Image.open', 'Shard.open')  # nothing is written


def test_nobody_writes_past_replace_when_complete():
    found = []
    for path in SOURCES:
        base = PACKAGE if path.is_relative_to(PACKAGE) else REPO
        found += [f'{path.relative_to(base)}: {text}' for text in unsafe_writes(path.read_text())]
    unknown = [text for text in found if not text.startswith(tuple(ALLOWED)) and not text.startswith('fileio.py')]
    assert not unknown
    assert not [allowed for allowed in ALLOWED if not any(text.startswith(allowed) for text in found)]  # out of date


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no device that is always full')
def test_nobody_has_numpy_write_an_array_to_a_path():
    np.zeros(10).tofile('/dev/full')  # it says nothing; where it does one day, this test may go
    with pytest.raises(OSError):
        Path('/dev/full').write_bytes(np.zeros(10).tobytes())
    assert not [path.name for path in SOURCES if '.tofile(' in path.read_text()]


@pytest.mark.parametrize(
    'text, unsafe',
    [
        ('with replace_when_complete(path) as t:\n    t.write_text(x)', False),
        ('with replace_when_complete(path) as t, open(t, "wb") as file:\n    np.savez(file, x)', False),
        ('t = stack.enter_context(replace_when_complete(path))\npickle.dump(x, open(t, "wb"))', False),
        ('b = io.BytesIO()\nimage.save(b)', False),
        ('open(path)', False),
        ('text.replace("a", "b")', False),
        ('path.write_text(x)', True),
        ('with replace_when_complete(path) as t:\n    path.write_text(x)', True),
        ('open(path, mode="a")', True),
        ('open(path, mode)', True),
        ('path.open("w")', True),
        ('path.rename(other)', True),
        ('path.replace(other)', True),
        ('np.save(path, x)', True),
        ('save_file(x, path)', True),
        ('shutil.copy(a, b)', True),
    ],
)
def test_writes_are_seen(text, unsafe):
    assert bool(unsafe_writes(text)) == unsafe


def unsafe_writes(text: str) -> list[str]:
    """Calls that write a file under another name than a temporary one of ``replace_when_complete``, or into memory."""
    tree, safe = ast.parse(text), set()
    bound = [(node.optional_vars, node.context_expr) for node in ast.walk(tree) if isinstance(node, ast.withitem)]
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    bound += [(target, node.value) for node in assigned for target in node.targets]
    for _ in range(2):  # a file opened under such a name is one, too
        for target, value in bound:
            if isinstance(target, ast.Name) and isinstance(value, ast.Call):
                opened = ast.unparse(value.func) == 'open' and names_in(value) & safe
                if opened or 'replace_when_complete(' in ast.unparse(value) or ast.unparse(value.func) in MEMORY:
                    safe.add(target.id)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if writes(call) and not names_in(call) & safe]


def writes(call: ast.Call) -> bool:
    text, name = ast.unparse(call.func), ast.unparse(call.func).rpartition('.')[2]
    if name not in WRITES or text.startswith(HARMLESS):
        return False
    if name in ('open', 'ZipFile'):
        modes = [keyword.value for keyword in call.keywords if keyword.arg == 'mode']
        modes += call.args[0 if text.endswith('.open') else 1 :][:1]  # a Path's own has no path
        return any(not isinstance(mode, ast.Constant) or set(str(mode.value)) & set('wax+') for mode in modes)
    if text in ('replace', 'save'):  # of dataclasses and of safetensors: nothing is written
        return False
    if name == 'copy':
        return text.startswith('shutil.')
    if name == 'replace' and text != 'os.replace':
        return len(call.args) == 1  # a Path's; a text's has two
    return True


def names_in(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
