//! The API formats: paths and operations, error bodies, usage rules. Pure.
