"""What is done with ad accounts elsewhere: connecting, pulling, uploading."""
