use super::*;
use crate::sys::buf::Buf;
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

fn pipe() -> (BodyPipe, Rc<Cell<usize>>) {
    let kept = Rc::new(Cell::new(0));
    (BodyPipe::new(kept.clone()), kept)
}

fn part(bytes: &[u8]) -> Part {
    Part::new(Rc::new(Buf::copy_of(bytes)), 0..bytes.len())
}

fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn take_all(pipe: &BodyPipe) -> Vec<u8> {
    let (mut cursor, mut out, over) = (Cursor::default(), Vec::new(), Cell::new(false));
    while let Some(Next::Part(part)) = poll(pipe.next(cursor, &over)) {
        out.extend_from_slice(part.bytes());
        pipe.sent(&mut cursor, &part);
    }
    out
}

#[test]
fn a_body_can_be_sent_again_from_its_first_byte_while_it_is_kept() {
    let (pipe, kept) = pipe();
    pipe.push(part(b"{\"model\":"));
    pipe.push(part(b"\"m\"}"));
    pipe.end();
    assert_eq!(take_all(&pipe), b"{\"model\":\"m\"}");
    assert!(pipe.is_whole_so_far());
    assert_eq!(take_all(&pipe), b"{\"model\":\"m\"}");
    assert_eq!(kept.get(), part(b"{").footprint() * 2);
    pipe.keep_no_longer();
    assert!(!pipe.is_whole_so_far());
    assert_eq!(kept.get(), 0);
}

#[test]
fn a_stuck_upstream_stops_the_client_at_the_cap() {
    let (pipe, _) = pipe();
    let big = vec![b' '; 64 * 1024];
    let mut pushed = 0;
    while poll(pipe.room()).is_some() {
        pipe.push(part(&big));
        pushed += big.len();
        assert_eq!(pipe.room_bytes(), PIPE_BYTES_MAX - pushed);
        assert!(pushed <= PIPE_BYTES_MAX + big.len(), "no backpressure");
    }
    assert_eq!(pipe.room_bytes(), 0, "a large read would go beyond the cap");
    assert!(pipe.look_further());
    assert!(poll(pipe.room()).is_some(), "the gate may look further");
    pipe.push(part(&big));
    assert_eq!(pipe.room_bytes(), 0, "less than none");
}

#[test]
fn a_key_that_decides_and_stands_twice_is_refused() {
    let (pipe, _) = pipe();
    pipe.push(part(br#"{"model":"cheap","x":{"model":"inner is fine"},"#));
    assert_eq!(pipe.failure(), None);
    pipe.push(part(br#""mod\u0065l":"dear"}"#));
    assert!(matches!(pipe.failure(), Some(BodyFailure::Malformed(_))));
}

#[test]
fn what_a_connection_kept_is_given_back_when_it_ends() {
    let (pipe, kept) = pipe();
    pipe.push(part(b"{}"));
    assert_eq!(kept.get(), part(b"{}").footprint());
    pipe.reset(true);
    assert_eq!(kept.get(), 0);
    pipe.push(part(b"{}"));
    drop(pipe);
    assert_eq!(kept.get(), 0);
}

#[test]
fn an_upload_whose_exchange_is_over_stops_waiting() {
    let (pipe, _) = pipe();
    let over = Cell::new(true);
    assert!(matches!(poll(pipe.next(Cursor::default(), &over)), Some(Next::Stopped)));
    over.set(false);
    assert!(poll(pipe.next(Cursor::default(), &over)).is_none());
    pipe.stop();
    assert!(matches!(poll(pipe.next(Cursor::default(), &over)), Some(Next::Stopped)));
}

#[test]
fn a_body_that_comes_byte_by_byte_is_stopped_by_the_memory_it_takes() {
    let (pipe, kept) = pipe();
    let mut bytes = 0;
    while poll(pipe.room()).is_some() {
        pipe.push(part(b" "));
        bytes += 1;
    }
    assert!(bytes <= PIPE_BYTES_MAX / part(b" ").footprint(), "{bytes} buffers");
    assert!(kept.get() <= PIPE_BYTES_MAX, "{}", kept.get());
    assert_eq!(take_all(&pipe).len(), bytes);
    assert!(poll(pipe.room()).is_some(), "what was sent makes room");
}

#[test]
fn a_gate_that_looks_far_into_many_bodies_stops_at_the_cap_of_the_shard() {
    let (pipe, kept) = pipe();
    assert!(pipe.look_further());
    let others = REPLAY_BYTES_MAX - PIPE_BYTES_MAX;
    kept.set(others);
    let big = vec![b' '; 64 * 1024];
    while pipe.failure().is_none() {
        pipe.push(part(&big));
        assert!(kept.get() <= REPLAY_BYTES_MAX + big.len(), "the cap has no effect");
    }
    assert_eq!(pipe.failure(), Some(BodyFailure::Crowded));
    pipe.push(part(&big));
    assert!(kept.get() <= REPLAY_BYTES_MAX + big.len(), "a body that failed is kept no longer");
    drop(pipe);
    assert_eq!(kept.get(), others);
}

#[test]
fn a_gate_that_has_seen_enough_lets_the_upload_set_the_pace_again() {
    let (pipe, _) = pipe();
    assert!(pipe.look_further());
    let big = vec![b' '; 64 * 1024];
    (0..8).for_each(|_| pipe.push(part(&big)));
    assert!(poll(pipe.room()).is_some());
    pipe.look_no_further();
    assert!(poll(pipe.room()).is_none(), "no backpressure");
}
