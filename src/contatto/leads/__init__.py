"""One lead per person: contact points, status, the Leads Center and its download."""
