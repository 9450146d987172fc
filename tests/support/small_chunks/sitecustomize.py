"""Found first on PYTHONPATH, Python runs this as it starts: expansions of a few tasks have several
chunks then, and processes can be hurt between two.
"""

from __future__ import annotations

from distflow.core import expansion

expansion.CHUNK_TASKS = 2
