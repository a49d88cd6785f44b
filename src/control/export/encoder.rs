//! A record into the file of its part.

use super::{Format, columns::Row, parquet_part::ParquetPart};
use serde::Serialize;
use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

/// Lines gathered before they are written. Bytes.
const LINES_BYTES: usize = 256 << 10;

/// The file of a part in its format.
pub(super) enum Encoder {
    Parquet(Box<ParquetPart>),
    Lines(BufWriter<File>),
}

impl Encoder {
    pub fn begin(format: Format, file: File) -> io::Result<Self> {
        Ok(match format {
            Format::Parquet => Self::Parquet(Box::new(ParquetPart::begin(file)?)),
            Format::Jsonl => Self::Lines(BufWriter::with_capacity(LINES_BYTES, file)),
        })
    }

    pub fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self {
            Self::Parquet(part) => part.write(row),
            Self::Lines(_) => self.write_line(row.view),
        }
    }

    /// Writes a document as a line; a Parquet part has only records.
    pub fn write_line(&mut self, document: &impl Serialize) -> io::Result<()> {
        match self {
            Self::Parquet(_) => Err(io::Error::other("a Parquet part takes no lines")),
            Self::Lines(out) => {
                serde_json::to_writer(&mut *out, document)?;
                out.write_all(b"\n")
            }
        }
    }

    /// What waits in memory and `flush` would write. Bytes.
    pub fn buffered(&self) -> usize {
        match self {
            Self::Parquet(part) => part.buffered(),
            Self::Lines(_) => 0,
        }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Parquet(part) => part.flush(),
            Self::Lines(out) => out.flush(),
        }
    }

    /// The file, written to its end; not yet durable.
    pub fn finish(self) -> io::Result<File> {
        match self {
            Self::Parquet(part) => part.finish(),
            Self::Lines(out) => out.into_inner().map_err(io::IntoInnerError::into_error),
        }
    }
}
