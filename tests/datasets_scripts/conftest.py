"""Helper modules beside these tests can be imported by name: `from three_ways import assert_three_ways_equal`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
