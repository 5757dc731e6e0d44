"""Choice of ads for viewers, and charges for views and clicks."""
