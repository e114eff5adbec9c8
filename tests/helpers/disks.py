"""Small disks that fill up."""

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Mounts file systems of a given size; only root can."""
    mounted = []

    def mount(kilobytes):
        folder = tmp_path / f'disk{len(mounted)}'
        folder.mkdir()
        if subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', f'size={kilobytes}k', 'tmpfs', folder], check=False
        ).returncode:
            pytest.skip('no file system can be mounted here')
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(['umount', folder], check=True)
