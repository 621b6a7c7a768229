"""Step 2: what would stop or mar a transfer, found before it starts. `joblist` is the step, the others its parts."""
