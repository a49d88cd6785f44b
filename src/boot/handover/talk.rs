//! Messages over a unix socket: a length, then JSON.

use super::Message;
use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// A message, at most. Bytes.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One end of a conversation.
pub(super) struct Talk {
    stream: UnixStream,
    /// What has been read of the next message.
    begun: Vec<u8>,
}

impl Talk {
    /// Over a connected socket.
    pub fn over(stream: UnixStream) -> Self {
        Self { stream, begun: Vec::new() }
    }

    /// The socket, for descriptors.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Says something; waits at most so long for the other end to take it.
    pub fn say(&mut self, message: &Message, patience: Duration) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        self.stream.set_write_timeout(Some(patience))?;
        let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&text);
        self.stream.write_all(&bytes)
    }

    /// The next message; `None` if there is none within that time. Never reads beyond its end, so that descriptors behind it can be
    /// received.
    pub fn hear(&mut self, patience: Duration) -> io::Result<Option<Message>> {
        self.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        loop {
            let wanted = match self.begun.first_chunk::<4>() {
                None => 4,
                Some(length) => 4 + u32::from_le_bytes(*length) as usize,
            };
            if wanted > MESSAGE_BYTES_MAX {
                return Err(io::Error::other("a message is too long"));
            }
            if wanted > 4 && self.begun.len() == wanted {
                let message = serde_json::from_slice(&self.begun[4..]).map_err(io::Error::other);
                self.begun.clear();
                return message.map(Some);
            }
            let have = self.begun.len();
            self.begun.resize(wanted, 0);
            let read = self.stream.read(&mut self.begun[have..]);
            self.begun.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next message, which must come within that time.
    pub fn hear_now(&mut self, patience: Duration) -> io::Result<Message> {
        self.hear(patience)?.ok_or_else(|| ErrorKind::TimedOut.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_pieces_is_lost_or_read_with_the_next() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut talk = Talk::over(there);
        let mut bytes = Vec::new();
        for message in [Message::Ready, Message::Refused { why: "x".into() }] {
            let text = serde_json::to_vec(&message).unwrap();
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&text);
        }
        let mut heard = Vec::new();
        for byte in bytes {
            here.write_all(&[byte]).unwrap();
            heard.extend(talk.hear(Duration::from_millis(1)).unwrap());
        }
        assert!(matches!(&heard[..], [Message::Ready, Message::Refused { why }] if why == "x"), "{heard:?}");
        drop(here);
        assert_eq!(talk.hear(Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
