//! The only unsafe code, and the only place that knows the runtime.
