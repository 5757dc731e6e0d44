"""The ledger of deliveries to outside systems, for CRMs, ad platforms and subscribed programs."""
