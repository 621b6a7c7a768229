"""Step 4: one worker: claim and transfer until nothing is left. An array runs many of these."""

from _run import run

if __name__ == "__main__":
    run("transfer")
