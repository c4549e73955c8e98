"""Exported students into the backbones of downstream models, with a report of what arrived."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.logging import print_log
from torch import Tensor, nn

from cleverdistiller.errors import InputError
from cleverdistiller.fileio import load_strictly, read_metadata, read_student, read_student_arguments

REQUIRED = 'required'


@dataclass(frozen=True)
class StudentOptions:
    """Where a model's config holds its student, so that errors can name the option to change.

    Args:
        weights (str): Of the node with ``student_weights``, ``allow_other_voxel_size`` and ``allow_missing``.
        student (str): Of the student's own node.
        voxel_size_m (str): Of the voxel size.
    """

    weights: str
    student: str
    voxel_size_m: str


@dataclass(frozen=True)
class TransferReport:
    """What of a file reached a student.

    Args:
        path (str): The file.
        loaded (int): Tensors that were loaded.
        tensors (int): Tensors that the student has.
        missing (tuple[str, ...]): The student's tensors that the file does not have, or not in their shape.
        unexpected (tuple[str, ...]): The file's tensors that the student has no place for.
        loaded_parameters (int): Trainable numbers that were loaded; BatchNorm's statistics are none.
        parameters (int): Trainable numbers that the student has.
    """

    path: str
    loaded: int
    tensors: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    loaded_parameters: int
    parameters: int

    @property
    def share(self) -> float:
        """Loaded share of the student's parameters, 0 to 1."""
        return self.loaded_parameters / self.parameters

    def __str__(self) -> str:
        return (
            f'student weights from {self.path}: {self.loaded} of {self.tensors} tensors loaded, '
            f'{len(self.missing)} missing, {len(self.unexpected)} unexpected; '
            f'{self.share:.2%} of the {self.parameters:,} parameters of the backbone'
        )


def transfer_student(
    student: nn.Module,
    weights: str | None,
    voxel_size_m: float,
    options: StudentOptions,
    allow_other_voxel_size: bool = False,
    allow_missing: Sequence[str] = (),
) -> TransferReport | None:
    """Load an exported student and log the report.

    Args:
        student (nn.Module): Gets the weights.
        weights (str | None): The file; None leaves the random start; :data:`REQUIRED` asks for one of the two.
        voxel_size_m (float): The grid that the student is going to see.
        options (StudentOptions): For the errors.
        allow_other_voxel_size (bool): Take a student that was distilled on another grid.
        allow_missing (Sequence[str]): Beginnings of the names of tensors that may be missing or of another shape, such
            as ``stem.``; they keep their random start.

    Returns:
        TransferReport | None: None where nothing was asked for.

    Raises:
        InputError: If no file is given, or it holds another student or grid, or says of these what cannot be read, or
            a tensor is missing, unexpected or of another shape without being allowed to, or not finite.
    """
    if weights is None:
        return None
    if weights == REQUIRED:
        raise InputError(
            'no student weights',
            'an exported student to transfer (student.pth or student.safetensors)',
            f'--cfg-options {options.weights}.student_weights=FILE, with --resume too; '
            f'{options.weights}.student_weights=None trains the random baseline',
        )
    metadata = read_metadata(weights)
    if not allow_other_voxel_size:
        _check_voxel_size(weights, metadata, voxel_size_m, options)
    _check_arguments(weights, student, options, all_of_them=not allow_missing)
    found, own = read_student(weights), student.state_dict()
    report = compare(weights, found, student)
    left_at_random = {name: own[name] for name in report.missing if name.startswith(tuple(allow_missing))}
    load_strictly(
        student,
        {**found, **left_at_random},
        weights,
        f'build {options.student} with the arguments that the file was made with'
        + (f' ({metadata["student"]})' if 'student' in metadata else '')
        + f', or name what may start at random in {options.weights}.allow_missing',
    )
    print_log(str(report), logger='current')
    return report


def compare(path: str, found: dict[str, Tensor], student: nn.Module) -> TransferReport:
    """Which of a file's tensors a student can take.

    Args:
        path (str): The file.
        found (dict[str, Tensor]): What it holds.
        student (nn.Module): The student.

    Returns:
        TransferReport: The comparison.
    """
    own = student.state_dict()
    fitting = {name for name in own.keys() & found.keys() if own[name].shape == found[name].shape}
    sizes = {name: parameter.numel() for name, parameter in student.named_parameters()}
    return TransferReport(
        str(path),
        loaded=len(fitting),
        tensors=len(own),
        missing=tuple(name for name in own if name not in fitting),
        unexpected=tuple(name for name in found if name not in own),
        loaded_parameters=sum(size for name, size in sizes.items() if name in fitting),
        parameters=sum(sizes.values()),
    )


def _check_voxel_size(path: str, metadata: dict, voxel_size_m: float, options: StudentOptions) -> None:
    """Features change with the grid, and nothing else would tell that a student saw another one."""
    made_with = metadata.get('voxel_size_m')
    if made_with is None:
        return
    try:
        size_m = float(made_with)
    except (TypeError, ValueError):
        size_m = math.nan
    if not 0 < size_m < math.inf:
        raise InputError(
            f'{path}, whose metadata say voxel_size_m={made_with!r}',
            "one number of metres, such as '0.05'",
            f'correct its metadata, or, if it was distilled on voxels of {voxel_size_m} m, say '
            f'{options.weights}.allow_other_voxel_size=True',
        )
    if size_m != voxel_size_m:
        raise InputError(
            f'{path}, distilled on voxels of {made_with} m, for voxels of {voxel_size_m} m',
            'the same voxels',
            f'--cfg-options {options.voxel_size_m}={made_with}, or, on purpose, '
            f'{options.weights}.allow_other_voxel_size=True',
        )


def _check_arguments(path: str, student: nn.Module, options: StudentOptions, all_of_them: bool) -> None:
    """Another width changes every tensor; name the width rather than the tensors, and what no tensor would tell."""
    of_version = getattr(student, 'arguments_of_version', {})
    made_with = read_student_arguments(path, of_version)
    here = getattr(student, 'arguments', {})
    if not all_of_them:
        here = {key: value for key, value in here.items() if any(key in told for told in of_version.values())}
    other = {key: made_with[key] for key, value in here.items() if key in made_with and made_with[key] != value}
    if other:
        raise InputError(
            f'{path}, a student with {_listed(other)}, for one with {_listed({key: here[key] for key in other})}',
            'the same student',
            '--cfg-options ' + ' '.join(f'{options.student}.{key}={_typed(value)}' for key, value in other.items()),
        )


def _typed(value: object) -> str:
    """As it is typed in a shell: lists without spaces."""
    return ','.join(map(str, value)) if isinstance(value, list) else str(value)


def _listed(arguments: dict) -> str:
    return ', '.join(f'{key}={value}' for key, value in arguments.items())
