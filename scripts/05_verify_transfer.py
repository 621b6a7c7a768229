"""Step 5: compare finished jobs with S3 again, without downloading."""

from _run import run

if __name__ == "__main__":
    run("verify")
