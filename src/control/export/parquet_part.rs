//! A part as Parquet: rows are gathered column by column, and written as row groups of bounded size.

use super::columns::{COLUMNS, Read, Row, SCHEMA, UNIQUE};
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};
use std::{fs::File, io, sync::Arc};

/// The largest amount that 18 digits hold, nano-dollars: a billion dollars.
const MONEY_MAX: i64 = 999_999_999_999_999_999;
/// What a value of fixed size is counted as, levels included. Bytes.
const VALUE_BYTES: usize = 12;
/// zstd's own default: smaller levels save little time, larger ones little space.
const ZSTD_LEVEL: i32 = 3;

/// A part being written.
pub(super) struct ParquetPart {
    file: SerializedFileWriter<File>,
    columns: Vec<Column>,
    buffered: usize,
}

/// Values of one column that wait for their row group.
struct Column {
    read: Read,
    values: Values,
    /// Definition levels, of what may be absent or repeated.
    defined: Vec<i16>,
    /// Repetition levels, of what is repeated.
    repeated: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Long(Vec<i64>),
    Short(Vec<i32>),
    Flag(Vec<bool>),
}

impl ParquetPart {
    pub fn begin(file: File) -> io::Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(failed)?;
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).into())
            .set_compression(Compression::ZSTD(level));
        for path in UNIQUE {
            let path = ColumnPath::new(path.iter().map(|part| (*part).to_owned()).collect());
            properties = properties.set_column_dictionary_enabled(path, false);
        }
        let file = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build())).map_err(failed)?;
        let columns = COLUMNS.iter().map(|(_, read)| Column::of(*read)).collect();
        Ok(Self { file, columns, buffered: 0 })
    }

    pub fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        for column in &mut self.columns {
            self.buffered += column.push(row)?;
        }
        Ok(())
    }

    /// What waits for its row group. Bytes.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Writes what waits as a row group.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffered == 0 {
            return Ok(());
        }
        let mut group = self.file.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            let writer = group.next_column().map_err(failed)?;
            let writer = writer.ok_or_else(|| io::Error::other("the schema has fewer columns than are written"))?;
            column.write(writer).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.buffered = 0;
        Ok(())
    }

    /// The file, whole.
    pub fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        self.file.into_inner().map_err(failed)
    }
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

fn long(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Column {
    fn of(read: Read) -> Self {
        let values = match read {
            Read::Text(_) | Read::MaybeText(_) | Read::AttemptText(_) => Values::Text(Vec::new()),
            Read::Money(_) | Read::Long(_) | Read::AttemptLong(_) => Values::Long(Vec::new()),
            Read::Short(_) | Read::AttemptShort(_) => Values::Short(Vec::new()),
            Read::Flag(_) => Values::Flag(Vec::new()),
        };
        Self { read, values, defined: Vec::new(), repeated: Vec::new() }
    }

    /// Takes a row's value; returns about how much memory that took.
    fn push(&mut self, row: &Row<'_>) -> io::Result<usize> {
        Ok(match self.read {
            Read::Text(read) => self.values.text(read(row)),
            Read::MaybeText(read) => {
                let value = read(row);
                self.defined.push(i16::from(value.is_some()));
                value.map_or(VALUE_BYTES, |text| self.values.text(text))
            }
            Read::Money(read) => {
                let nanos = read(row);
                if !(-MONEY_MAX..=MONEY_MAX).contains(&nanos) {
                    let what =
                        format!("{} costs more than a billion dollars, which no column holds", row.view.request_id);
                    return Err(io::Error::other(what));
                }
                self.values.long(nanos)
            }
            Read::Long(read) => self.values.long(long(read(row))),
            Read::Short(read) => self.values.short(read(row)),
            Read::Flag(read) => self.values.flag(read(row)),
            Read::AttemptText(_) | Read::AttemptLong(_) | Read::AttemptShort(_) => self.push_attempts(row),
        })
    }

    fn push_attempts(&mut self, row: &Row<'_>) -> usize {
        let attempts = &row.view.attempts;
        if attempts.is_empty() {
            self.defined.push(0);
            self.repeated.push(0);
            return VALUE_BYTES;
        }
        let mut bytes = 0;
        for (place, attempt) in attempts.iter().enumerate() {
            self.defined.push(1);
            self.repeated.push(i16::from(place > 0));
            bytes += match self.read {
                Read::AttemptText(read) => self.values.text(read(attempt)),
                Read::AttemptLong(read) => self.values.long(long(read(attempt))),
                Read::AttemptShort(read) => self.values.short(read(attempt)),
                _ => 0,
            };
        }
        bytes
    }

    /// Writes and forgets the values.
    fn write(&mut self, mut writer: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = |levels: &Vec<i16>| (!levels.is_empty()).then(|| levels.clone());
        let (defined, repeated) = (levels(&self.defined), levels(&self.repeated));
        let (defined, repeated) = (defined.as_deref(), repeated.as_deref());
        match &mut self.values {
            Values::Text(values) => {
                writer.typed::<ByteArrayType>().write_batch(values, defined, repeated)?;
                values.clear();
            }
            Values::Long(values) => {
                writer.typed::<Int64Type>().write_batch(values, defined, repeated)?;
                values.clear();
            }
            Values::Short(values) => {
                writer.typed::<Int32Type>().write_batch(values, defined, repeated)?;
                values.clear();
            }
            Values::Flag(values) => {
                writer.typed::<BoolType>().write_batch(values, defined, repeated)?;
                values.clear();
            }
        }
        self.defined.clear();
        self.repeated.clear();
        writer.close()
    }
}

impl Values {
    // A column's reading and its values are made for each other in `Column::of`.
    fn text(&mut self, text: &str) -> usize {
        if let Self::Text(values) = self {
            values.push(ByteArray::from(text));
        }
        size_of::<ByteArray>() + text.len() + VALUE_BYTES
    }

    fn long(&mut self, value: i64) -> usize {
        if let Self::Long(values) = self {
            values.push(value);
        }
        VALUE_BYTES
    }

    fn short(&mut self, value: u16) -> usize {
        if let Self::Short(values) = self {
            values.push(i32::from(value));
        }
        VALUE_BYTES
    }

    fn flag(&mut self, value: bool) -> usize {
        if let Self::Flag(values) = self {
            values.push(value);
        }
        VALUE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::ledger::RecordView, kernel::names::Names};

    #[test]
    fn a_field_of_the_record_has_no_column_or_another_ones() {
        let schema = parse_message_type(SCHEMA).unwrap();
        let descriptor = parquet::schema::types::SchemaDescriptor::new(Arc::new(schema.clone()));
        let leaves: Vec<String> = descriptor.columns().iter().map(|column| column.path().string()).collect();
        let read: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        assert_eq!(leaves, read);
        let view = RecordView::of(&Default::default(), &Names::default());
        let json = serde_json::to_value(view).unwrap();
        let mut fields: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        fields.sort_unstable();
        columns.sort_unstable();
        assert_eq!(fields, columns, "whoever adds a field to RecordView adds its column in columns.rs");
    }
}
