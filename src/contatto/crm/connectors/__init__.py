"""One file per CRM: operations to requests, answers to replies, never a socket."""
