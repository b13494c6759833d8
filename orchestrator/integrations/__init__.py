"""How each provider speaks: pure codecs, one transport, and the models made of the two."""
