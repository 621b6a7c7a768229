"""Can this folder hold a joblist? `trials` tries it with a second process, `nodes` between the tasks of an array."""
