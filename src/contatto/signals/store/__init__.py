"""Tables of signals, of the settings of each account, of erasures and of tests."""
