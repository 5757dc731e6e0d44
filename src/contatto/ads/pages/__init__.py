"""The Ads Manager: the tree of campaigns, the forms that make them, and the preview of an ad."""
