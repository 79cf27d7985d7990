//! Which group is told of an experience: an override, the operator's default, the experience's default, or none (S003-25).
