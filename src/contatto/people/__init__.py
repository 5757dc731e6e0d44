"""The people who work here: invitations, forgotten passwords, profiles, and who may do what."""
