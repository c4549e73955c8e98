"""``pip install -e .``: the package ``cleverdistiller``, kept under projects/ as mmdet3d keeps its projects."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
SOURCE = 'projects/CleverDistiller'

setup(
    name='cleverdistiller',
    version='0.1.0',
    description='CleverDistiller for MMDetection3D: distil image foundation models into LiDAR backbones',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    package_dir={'': SOURCE},
    packages=find_packages(SOURCE),
    package_data={'cleverdistiller.visualization.demo_report': ['page.*']},
    python_requires='>=3.10',
    install_requires=(HERE / 'requirements/runtime.txt').read_text().splitlines(),
)
