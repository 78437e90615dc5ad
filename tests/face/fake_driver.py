"""The command line with misbehaving methods. Workers import it too, so that they know them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from apportion.cli import main
from apportion.solvers.registry import METHODS
from face import fake_methods

METHODS["mixed-integer-program"].update({name: f"face.fake_methods:{name}" for name in fake_methods.NAMES})

if __name__ == "__main__":
    sys.exit(main())
