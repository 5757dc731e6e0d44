"""What looks like spam: chats are judged by their words, and by what is known of who wrote."""
