//! Experiences of another system, as it last told of them (d30).
