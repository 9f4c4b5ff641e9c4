"""What inner runs need is imported here, once.

pytester puts ``sys.modules`` back when an inner run ends; numpy and torch cannot be imported twice in one process,
and everything else would be imported again for every test.
"""

import hypothesis  # noqa: F401
import scipy.stats  # noqa: F401

from pytest_unineuron import finishing, lab, scheduler, session  # noqa: F401
