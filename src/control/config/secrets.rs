//! Secrets by reference: `"${NAME}"` from the environment, `"${file:/path}"` from a file. No value is ever in an error.

use super::reader::Reader;
use crate::kernel::secret::Secret;

/// A secret file is small; anything larger is the wrong file. Bytes.
pub(super) const SECRET_BYTES_MAX: u64 = 64 * 1024;

impl Reader<'_> {
    /// Reads a secret that must be there. It must be one line of visible ASCII, since it travels in a header.
    pub(super) fn need_secret(&self, key: &'static str) -> Option<Secret<String>> {
        if !self.has(key) {
            self.error(key, "is missing", "write \"${NAME}\" and set NAME in the environment, or \"${file:/path}\"");
            return None;
        }
        self.secret(key)
    }

    /// Reads a secret if it is there.
    pub(super) fn secret(&self, key: &'static str) -> Option<Secret<String>> {
        self.secret_behind(key, self.text(key)?)
    }

    /// Reads a secret, or a list of them. Those that are wrong are left out, and told.
    pub(super) fn secrets(&self, key: &'static str) -> Vec<Secret<String>> {
        let written = self.one_or_more_texts(key).unwrap_or_default();
        if written.is_empty() {
            self.error(key, "has no secret in it", "write \"${NAME}\", or a list of such references");
        }
        written.into_iter().filter_map(|(item, text)| self.secret_behind(&item, text)).collect()
    }

    /// Reads what a written reference stands for; `key` is where it is written.
    pub(super) fn secret_behind(&self, key: &str, written: &str) -> Option<Secret<String>> {
        let reference = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let Some(reference) = reference.filter(|name| !name.is_empty() && !name.contains(['$', '{', '}'])) else {
            let mend =
                "write \"${NAME}\" and set NAME in the environment, or \"${file:/path}\"; secrets do not belong here";
            self.error(key, "is a secret written out", mend);
            return None;
        };
        let value = match reference.strip_prefix("file:") {
            Some(path) => self.secret_from_file(key, path)?,
            None => self.secret_from_environment(key, reference)?,
        };
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
            let what =
                if value.is_empty() { "is empty" } else { "holds a space, a line break or a character outside ASCII" };
            self.error(key, format!("the secret behind it {what}"), format!("correct the content of {reference}"));
            return None;
        }
        Some(Secret::new(value))
    }

    fn secret_from_environment(&self, key: &str, name: &str) -> Option<String> {
        let value = (self.context().env)(name);
        if value.is_none() {
            self.error(
                key,
                format!("the environment variable {name} is not set"),
                format!("export {name}=… before the start"),
            );
        }
        value
    }

    fn secret_from_file(&self, key: &str, path: &str) -> Option<String> {
        let path = self.context().resolve(path);
        let read = std::fs::metadata(&path).and_then(|about| {
            if about.len() > SECRET_BYTES_MAX {
                return Err(std::io::Error::other("larger than 64 KiB"));
            }
            std::fs::read_to_string(&path)
        });
        match read {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_string()),
            Err(error) => {
                let mend = "put the secret there, one line, readable by this user";
                self.error(key, format!("the file {} cannot be read: {error}", path.display()), mend);
                None
            }
        }
    }
}
