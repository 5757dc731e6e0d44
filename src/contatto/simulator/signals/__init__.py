"""Ad platforms in memory, and the failure kit for the connectors that tell them what became of leads."""
