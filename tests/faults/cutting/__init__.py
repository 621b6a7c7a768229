"""Cut points: a program of ours is killed, or refused by the file system, at each of its calls in turn."""
