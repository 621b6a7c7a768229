"""Count the jobs of a joblist by status."""

from _run import run

if __name__ == "__main__":
    run("summarise")
