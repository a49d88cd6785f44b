//! Containers and messages of threads, as answers name them (contract.md §1.4, §4.1).

use crate::kernel::record::{Label, inline};
use serde::Deserialize;

#[derive(Deserialize)]
struct Described {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Start {
    message: Described,
}

#[derive(Deserialize)]
struct Delta {
    delta: Inner,
}

#[derive(Deserialize)]
struct Inner {
    container: Option<Described>,
}

/// Of a container's description, where there is one.
pub fn described(raw: &[u8]) -> Option<Label> {
    let told: Option<Described> = serde_json::from_slice(raw).ok()?;
    of(told?.id)
}

/// Of an id as a JSON string.
pub fn label(raw: &[u8]) -> Option<Label> {
    of(serde_json::from_slice(raw).ok())
}

/// The message that begins, of the data of a `message_start`.
pub fn of_start(data: &[u8]) -> Option<Label> {
    of(serde_json::from_slice::<Start>(data).ok()?.message.id)
}

/// The container, of the data of a `message_delta`.
pub fn of_delta(data: &[u8]) -> Option<Label> {
    of(serde_json::from_slice::<Delta>(data).ok()?.delta.container?.id)
}

fn of(id: Option<String>) -> Option<Label> {
    // A longer one would be cut, and then it would name something else.
    let id = id.filter(|id| !id.is_empty() && id.len() <= Label::new().capacity())?;
    Some(inline(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_or_a_thread_is_lost_or_taken_from_another_place() {
        let text = |label: Option<Label>| label.map(|label| label.to_string());
        let delta = br#"{"type":"message_delta","delta":{"stop_reason":"end_turn","container":{"id":"container_1","expires_at":"x"}},"usage":{"container":{"id":"no"}}}"#;
        assert_eq!(text(of_delta(delta)).as_deref(), Some("container_1"));
        let start = br#"{"type":"message_start","message":{"content":[{"id":"no"}],"id":"msg_1"}}"#;
        assert_eq!(text(of_start(start)).as_deref(), Some("msg_1"));
        assert_eq!(text(described(br#"{"expires_at":"x","id":"c"}"#)).as_deref(), Some("c"));
        assert_eq!(text(label(br#""msg_2""#)).as_deref(), Some("msg_2"));
        for none in [&b"null"[..], b"{}", b"[]", b"{", br#"{"id":null}"#, br#"{"id":""}"#] {
            assert_eq!((of_delta(none), of_start(none), described(none)), (None, None, None));
        }
        assert_eq!(label(format!("\"{}\"", "x".repeat(65)).as_bytes()), None);
    }
}
