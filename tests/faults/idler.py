"""A worker that waits and never takes anything: it ends at once. Its arguments are those of `claim_holder`."""

print("seeks", flush=True)
