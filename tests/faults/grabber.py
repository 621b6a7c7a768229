"""A worker that takes at once what a living one has. Its arguments are those of `claim_holder`."""

import sys
import time
from pathlib import Path

(Path(sys.argv[1]) / ".bulkhaul" / "ledger" / "a.000002").write_bytes(b"{}")
print("seeks", flush=True)
time.sleep(60)
