"""One module a claim of docs/reliability.md: `CLAIM`, `USUAL` trials of a full run, `measure(folder, amount, seed)`."""
