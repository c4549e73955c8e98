import zipfile
from abc import abstractmethod
from pathlib import Path

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from tqdm import tqdm

from cleverdistiller.fileio import replace_when_complete


class Submission(BaseMetric):
    """Base of the writers of predictions for test servers.

    A frame is written as soon as it is predicted; only its file's name is kept. The archive holds the files of this
    run alone, whatever else lies in the folder. Reports ``files``.

    Args:
        out_dir (str): Folder to fill.
        zip (bool): At the end, also pack it as ``{out_dir}.zip``, which servers want.
        **kwargs: For :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = 'submission'

    def __init__(self, out_dir: str, zip: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        self.out_dir = Path(out_dir)
        self.zip = zip

    @abstractmethod
    def write_frame(self, sample: dict) -> str:
        """Write a frame's file; returns its name relative to ``out_dir``."""

    def write_extra_files(self) -> list[str]:
        """Write what the server wants besides predictions; returns names relative to ``out_dir``."""
        return []

    def process(self, data_batch: dict, data_samples: list[dict]) -> None:
        """Write the files of a batch."""
        for sample in data_samples:
            self.results.append(self.write_frame(sample))

    def compute_metrics(self, results: list[str]) -> dict[str, int]:
        """Pack the files of all ranks; ``results`` are their names."""
        names = sorted({*results, *self.write_extra_files()})
        if self.zip:
            archive = self.out_dir.with_name(f'{self.out_dir.name}.zip')
            with replace_when_complete(archive) as temporary:
                self._pack(names, temporary)
            print_log(f'The submission is in {archive}', logger='current')
        return dict(files=len(set(results)))

    def _pack(self, names: list[str], archive: Path) -> None:
        with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as packed:
            for name in tqdm(names, desc='packing the submission', unit='file'):
                packed.write(self.out_dir / name, name)
