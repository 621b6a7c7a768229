"""Step 1 under its older name: the same as `01_extract_joblist.py`."""

from _run import run

if __name__ == "__main__":
    run("extract")
