"""`python -m modelyard_operator` is `modelyard-operator`."""

import sys

from modelyard_operator.runtime.main import main

sys.exit(main())
