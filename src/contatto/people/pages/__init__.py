"""Pages of members and their invitations, of joining, of passwords and of the own profile."""
