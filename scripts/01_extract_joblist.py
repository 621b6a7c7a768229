"""Step 1: scan a results folder and write one job file per dataset."""

from _run import run

if __name__ == "__main__":
    run("extract")
