//! Everything at once, with 500 clients.
