"""``python -m facehall_env.datasets`` is ``facehall-prepare``."""

import sys

from facehall_env.datasets.prepare import main

sys.exit(main())
