"""The people who work here: log-ins, invitations, passwords, profiles, and who may do what."""
