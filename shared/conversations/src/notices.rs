//! Whom to tell of a request, and by what means, pure; what was told.
