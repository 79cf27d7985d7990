//! What the bridge tells takes effect: a message is kept once, its codes become requests, an operator's word answers one.
