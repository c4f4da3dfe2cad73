"""Money: what every attempt was about to cost, what it did cost, whose it was, and what may still be spent."""
