//! Reservation requests: one per code, from the customer's message to the operator's word, with its story.
