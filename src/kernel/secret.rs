//! A value that must not be printed (law 8). There is no `Debug`, no `Display`, no `Serialize`: a log line that would show
//! a secret does not compile.

/// Holds a secret. Reading it is a deliberate act: `expose`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a secret.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The secret itself; only for sending it to its owner or hashing it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}
