"""The `contatto` command."""
