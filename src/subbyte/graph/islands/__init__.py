"""Islands: parts of a network that compute on uint8 from one layer to the next."""
