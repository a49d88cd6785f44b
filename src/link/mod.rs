//! The two doors between the planes.
