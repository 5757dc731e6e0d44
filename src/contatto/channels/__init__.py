"""Channel accounts of a business on each platform, and one connector per platform."""
