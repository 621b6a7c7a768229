"""Many workers on one joblist and one prefix, simulated: bulkhaul's own decisions, in memory and virtual time."""
