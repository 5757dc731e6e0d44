"""Actions of delivery: serving, charging, learning and explaining."""
