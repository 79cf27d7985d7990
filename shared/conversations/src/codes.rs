//! Reservation codes: issued here, and found in what people write, pure.
