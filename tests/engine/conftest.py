"""What the tests of whole trainings share."""

import pytest

from helpers.training_site import imported
from helpers.trainings import Training, make_site


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A folder with drawn scenes and the config of a tiny training."""
    return make_site(tmp_path_factory.mktemp('site'))


@pytest.fixture(scope='module')
def forks():
    """Starts processes that have all imports behind them."""
    return imported()


@pytest.fixture(scope='module')
def reference(site, forks) -> dict:
    training = Training(site, forks, 'reference')
    training.run()
    names = sorted(path.name for path in training.work_dir.glob('*.pth'))
    assert names == ['best_test_score_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']
    return training.content()
