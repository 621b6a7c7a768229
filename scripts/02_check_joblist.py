"""Step 2: check sources, names, bucket and credentials before anything is sent."""

from _run import run

if __name__ == "__main__":
    run("check")
