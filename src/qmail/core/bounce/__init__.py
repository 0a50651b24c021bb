"""What a sender is told of a message that could not be delivered."""
