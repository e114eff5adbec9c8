"""On PYTHONPATH of processes that run scenes with a predictor of the tests: what registers models is not imported.

It takes most of a start, and runs that are killed are started often.
"""

import sys
from types import ModuleType

sys.modules['rs2sam2.registration'] = sys.modules['rs2sam2.registry'] = ModuleType('left_out')
