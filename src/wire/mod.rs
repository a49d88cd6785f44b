//! Codecs, sans-io: HTTP/1.1 heads and framing, server-sent events, JSON scanning.
