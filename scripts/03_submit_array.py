"""Step 3: submit a SLURM array of workers that fits the joblist."""

from _run import run

if __name__ == "__main__":
    run("submit")
