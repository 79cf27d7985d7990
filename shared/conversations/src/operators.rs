//! Tour operators: who is told of the requests for an organizer's experiences.
